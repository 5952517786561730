/** The one place that every command of ioredis goes through. */
import type { Cluster, Command } from 'ioredis';
import type { PipelineStream } from './announce.js';

type Stream = Parameters<Cluster['sendCommand']>[1];

/** The node is a Cluster's: all of a pipeline goes to one. */
export type SendCommand = (command: Command, stream?: Stream, node?: Parameters<Cluster['sendCommand']>[2]) => unknown;

export function isPipeline(stream: Stream): stream is Stream & PipelineStream {
  return stream !== undefined && 'isPipeline' in stream && stream.isPipeline;
}
