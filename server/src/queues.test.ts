import { expect, it } from 'vitest';
import { Queues } from './queues.ts';

it('is done with a key when all that was added before is, and not with what others wait for', async () => {
  const queues = new Queues<string>(() => {});
  const done: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  queues.add('a', async () => {
    await promise;
    done.push('slow');
  });
  queues.add('a', async () => void done.push('quick'));
  queues.add('b', () => new Promise(() => {}));
  const ended = queues.done('a').then(() => done.push('done'));
  await queues.done('nobody');
  expect(done).toEqual([]);
  resolve();
  await ended;
  expect(done).toEqual(['slow', 'quick', 'done']);
});
