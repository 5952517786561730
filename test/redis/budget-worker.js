/**
 * A worker with an endless backlog in a process of its own: reserves operations, executes as many
 * commands, again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createBudget } from '../../dist/src/redis/budget/budget.js';
import { Connection } from '../../dist/src/redis/connection/connection.js';
import { reportStandstills } from '../support/standstills.js';

const { url, link, opsPerSecond, attempts, largest } = JSON.parse(process.argv[2]);
const connection = new Connection({ url }, { name: 'target' });
const budget = createBudget(connection, { link, opsPerSecond });
/** Every other attempt needs less than it reserved. */
const SPARE = 3;

async function reserveAsTold(operations) {
  let answer = await budget.reserve(operations);
  while (!answer.granted) {
    await sleep(answer.retryAfterMs);
    answer = await budget.reserve(operations);
  }
  return answer;
}

async function work(attempt) {
  for (;;) {
    const operations = 1 + Math.floor(Math.random() * largest);
    const reservation = await reserveAsTold(operations + (attempt % 2) * SPARE);
    await connection.send(Array.from({ length: operations }, (_, index) => ['SET', `key:${attempt}:${index}`, 'v']));
    reservation.settle(operations);
  }
}

await budget.reserve(1);
process.send('ready');
reportStandstills();
await Promise.all(Array.from({ length: attempts }, (_, attempt) => work(attempt)));
