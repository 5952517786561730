/** A port that somebody had in the moment of a start, and that is free again when we look. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Service } from '../../src/stack/service.js';
import { start } from '../../src/stack/start.js';
import { scratchFolder, stopAndRemove } from './scratch.js';

test.each([
  'Could not create server TCP listening socket *:6379: bind: Address already in use',
  'error: unable to start server: listen tcp 127.0.0.1:7233: bind: address already in use',
])('does not end the start of the stack: %s', async (line) => {
  const directory = scratchFolder();
  onTestFinished(() => stopAndRemove(directory));
  const lines: string[] = [];
  const ports = await start(standIn(directory), prepareFailingOnce(line), {
    directory,
    report: (said) => lines.push(said),
    preferredPorts: 'free',
    ports: {},
    remember: () => {},
  });
  expect(ports.redisTarget).toEqual(expect.any(Number));
  expect(lines).toContain('Redis (stand-in): its port was taken meanwhile, trying another');
});

/** It answers once its second process has said so in a file. */
function standIn(directory: string): Service {
  return {
    name: 'redis-target',
    title: 'Redis (stand-in)',
    ports: ['redisTarget'],
    provide: () => Promise.reject(new Error('is not asked for')),
    async answers() {
      if (!existsSync(join(directory, 'redis-target', 'up'))) throw new Error('not yet');
    },
  };
}

function prepareFailingOnce(line: string) {
  const script = `if [ -e tried ]; then touch up; exec sleep 600; fi; touch tried; echo "${line}"; exit 1`;
  return async () => ({ program: '/bin/sh', arguments: ['-c', script], environment: process.env });
}
