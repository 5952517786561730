/** Ids of failed-write records. */
import { monotonicFactory } from 'ulid';

/** A new ULID. Within one millisecond it counts on: drawing all of its randomness anew would cost a failed write 50 times as much. */
export const newRecordId: () => string = monotonicFactory();
