/** What went wrong between the two sides of TLS, for a person. */

import { type ConnectionOptions, connect } from 'node:tls';

/** What a service calls its settings. */
interface TlsSettings {
  readonly ca: string;
  readonly certificate: string;
  readonly serverName: string;
}

type Advice = (settings: TlsSettings) => string;

/** By what Node.js, OpenSSL and the core of Temporal say, as a code or in words. */
const TROUBLE: readonly (readonly [sign: RegExp, advice: Advice])[] = [
  [
    /alert[ _]certificate[ _]required|alert[ _]handshake[ _]failure|alert[ _]bad[ _]certificate/i,
    ({ certificate }) => `it wants a certificate that it trusts from whoever connects; give one as ${certificate}`,
  ],
  [
    /alert[ _]unknown[ _]ca/i,
    ({ certificate }) => `it does not trust the certificate of ${certificate}; give one of an authority that it trusts`,
  ],
  [/alert[ _]certificate[ _]expired/i, ({ certificate }) => `the certificate of ${certificate} has expired; renew it`],
  [
    /CERT_HAS_EXPIRED|certificate has expired|peer certificate: Expired/i,
    () => 'its certificate has expired; renew it there',
  ],
  [/CERT_NOT_YET_VALID|is not yet valid|NotValidYet/i, () => 'its certificate is not valid yet; check both clocks'],
  [
    /ALTNAME_INVALID|does not match certificate's altnames|NotValidForName/i,
    ({ serverName }) =>
      `its certificate is for another name; correct the host, or say with ${serverName} which name is right`,
  ],
  [
    /SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)|self[- ]signed certificate|unable to (verify|get)[\w ]* certificate|UnknownIssuer/i,
    ({ ca }) => `nobody who is trusted here has signed its certificate; give that authority's as ${ca}`,
  ],
  [
    /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|wrong version number|packet length too long|InvalidContentType/i,
    () => 'it does not speak TLS at this port; correct the port, or connect without TLS',
  ],
];

/** @returns what is wrong and what to do, in one line; undefined: it is not about certificates */
export function tlsTrouble(said: string, settings: TlsSettings): string | undefined {
  return TROUBLE.find(([sign]) => sign.test(said))?.[1](settings);
}

/**
 * Asks a server why there is no TLS with it, where a client does not say; null: there is, or nobody
 * says why not. One that wants another certificate of us says so behind the handshake, in the place
 * of its first answer.
 * @param options with a `timeout`
 * @param question which its protocol answers
 */
export function tlsFailure(options: ConnectionOptions, question: string | Buffer): Promise<Error | null> {
  return new Promise((resolve) => {
    const socket = connect(options, () => socket.write(question));
    const end = (failure: Error | null) => {
      resolve(failure);
      socket.destroy();
    };
    socket.on('error', end);
    for (const event of ['data', 'timeout', 'close']) socket.once(event, () => end(null));
  });
}
