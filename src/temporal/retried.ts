/** Calls of a client are tried again for as long as its connection is open. */
import { type ConnectionOptions, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];
type Call = ReturnType<Parameters<Interceptor>[1]>;

/** gRPC's CANCELLED: the one outcome of a closed connection that is not tried again. */
const CANCELLED = 1;

const sdks = makeGrpcRetryInterceptor(defaultGrpcRetryOptions());

/**
 * What the SDK does by itself, with one difference: it tries again by a timer, and where the
 * connection was closed meanwhile, what is thrown in there would end the process. The call fails
 * instead.
 */
export const retried: Interceptor = (options, nextCall) => {
  let begin = nextCall;
  const call = sdks(options, (given) => begin(given));
  begin = (given) => {
    try {
      return nextCall(given);
    } catch (error) {
      return failed(String(error));
    }
  };
  return call;
};

function failed(details: string): Call {
  const nothing = () => {};
  return {
    start: (metadata, listener) => listener?.onReceiveStatus?.({ code: CANCELLED, details, metadata }),
    cancelWithStatus: nothing,
    getPeer: () => '',
    sendMessageWithContext: nothing,
    sendMessage: nothing,
    startRead: nothing,
    halfClose: nothing,
    getAuthContext: () => null,
  };
}
