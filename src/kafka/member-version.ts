/**
 * The release of a bridge, as the consumer group knows it: with what the member tells the group of
 * itself. In its client ID, which is the same for all, it would end the quotas and rules of whoever
 * goes by that.
 */
import kafkajs, { type PartitionAssigner } from 'kafkajs';

// kafkajs is CommonJS, and Node sees only some of its names as named exports.
const { AssignerProtocol, PartitionAssigners } = kafkajs;
const MEMBER = AssignerProtocol.MemberMetadata;

/** Shares out as kafkajs does by default: members that do not say it can be of the same group. */
export function sharingOutAs(version: string): PartitionAssigner {
  return (config) => {
    const assigner = PartitionAssigners.roundRobin(config);
    return {
      ...assigner,
      assign: (group) => assigner.assign(group),
      protocol({ topics }) {
        const userData = Buffer.from(`keymend/${version}`);
        return { name: assigner.name, metadata: MEMBER.encode({ version: assigner.version, topics, userData }) };
      },
    };
  };
}

/** @returns null where it says none, as of a release that did not */
export function versionOfMember(metadata: Buffer): string | null {
  try {
    const userData = metadata.length === 0 ? '' : MEMBER.decode(metadata)?.userData;
    return /^keymend\/(\S+)$/.exec(String(userData))?.[1] ?? null;
  } catch {
    return null;
  }
}
