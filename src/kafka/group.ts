/**
 * Who else is in the consumer group. Partitions are shared out among all members, so those that
 * fall to a member which subscribes to another topic are read by nobody, without an error anywhere.
 */
import kafkajs, { type Admin } from 'kafkajs';
import type { Logger } from 'pino';
import type { KafkaConfig } from '../config.js';
import { kafkaErrorMessage } from './client.js';

// kafkajs is CommonJS, and Node sees only some of its names as named exports.
const { AssignerProtocol } = kafkajs;

/**
 * @returns one line if a member of the group reads something else than the topic; null if none does
 * @throws an error of kafkajs, also when this user may not describe the group
 */
export async function strangersInGroup(admin: Admin, { groupId, topic }: KafkaConfig): Promise<string | null> {
  const { groups } = await admin.describeGroups([groupId]);
  const { members = [], protocolType } = groups[0] ?? {};
  if (members.length > 0 && protocolType !== '' && protocolType !== 'consumer')
    return `the group ${groupId} is no group of consumers but of ${protocolType}; ${REMEDY}`;
  const strangers = members.flatMap(({ clientId, clientHost, memberMetadata }) => {
    const others = topicsOf(memberMetadata)?.filter((other) => other !== topic);
    return others?.length ? [{ client: `${clientId} at ${clientHost.replace(/^\//, '')}`, others }] : [];
  });
  const [first] = strangers;
  if (first === undefined) return null;
  const more = strangers.length === 1 ? '' : ` and ${strangers.length - 1} more`;
  return (
    `the consumer group ${groupId} of ${topic} has a member that reads ${first.others.join(', ')} (${first.client})${more}, so a part ` +
    `of the records would be read by nobody; ${REMEDY}`
  );
}

/**
 * For who looks again and again: one line when somebody is in the group who reads another topic,
 * and one when that is over. What it returns never rejects.
 */
export function strangersTold(admin: Admin, config: KafkaConfig, logger: Logger): () => Promise<void> {
  let told: string | null = null;
  return async () => {
    try {
      const strangers = await strangersInGroup(admin, config);
      if (strangers !== null && strangers !== told) logger.error(strangers);
      if (strangers === null && told !== null) logger.info(`the consumer group ${config.groupId} is ours alone again`);
      told = strangers;
    } catch (error) {
      logger.debug({ error: kafkaErrorMessage(error) }, 'Kafka: who else is in the consumer group is not known');
    }
  };
}

const REMEDY = 'give each topic a group of its own: kafka.groupId in the configuration';

/** null: the member has not said yet, or in a way that kafkajs does not know. */
function topicsOf(metadata: Buffer): readonly string[] | null {
  try {
    return metadata.length === 0 ? null : (AssignerProtocol.MemberMetadata.decode(metadata)?.topics ?? null);
  } catch {
    return null;
  }
}
