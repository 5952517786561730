/** A message of kafkajs as an intake hands it out. */
import type { KafkaMessage } from 'kafkajs';
import type { IntakeRecord } from '../events/intake.js';
import { unreadableOf } from './protocol/unreadable.js';

export function recordOf(
  { topic, partition }: { readonly topic: string; readonly partition: number },
  message: KafkaMessage,
): IntakeRecord {
  const { key, value, headers, offset, timestamp } = message;
  const unreadable = unreadableOf(message);
  return {
    key,
    value,
    headers: headers ?? {},
    position: { topic, partition, offset: unreadable?.firstOffset ?? offset, timestamp },
    ...(unreadable && { unreadable }),
  };
}
