/** Weights by commit and reveal on a chain in memory, through epochs, restarts and lines that break. */
import { SwarmError } from '@starling/protocol';
import { beforeEach, expect, it } from 'vitest';
import type { Call, Chain } from './chain.ts';
import { key, register, stake, TAO, TestNet } from './dev/for-tests.ts';
import { type Commit, type CommitsKept, Weigher } from './weigher.ts';

let net: TestNet;
let kept: string;
/** Text, so that nothing is shared with the process of before. */
const commits: CommitsKept = {
  read: async () => JSON.parse(kept) as Commit[],
  write: async (all) => {
    kept = JSON.stringify(all);
  },
};
const pending = () => JSON.parse(kept) as Commit[];
const scores = new Map([[key('m1').address, 1]]);
const weigher = (chain: Chain = net.chain, by = 'v1') => new Weigher(chain, key(by), commits);
const refused = (reason: string) => expect.objectContaining({ reason });

/** What waits for a block gets one, each call its own. */
async function inBlock<T>(task: Promise<T>): Promise<T> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  task.then(over, over);
  await settled();
  do {
    await net.blocks(1);
    await settled();
  } while (!isOver);
  return task;
}
async function settled(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}
const epoch = async () => (await net.chain.metagraph()).epoch;
async function untilEpoch(number: number): Promise<void> {
  while ((await epoch()) < number) await net.blocks(1);
}
/** The next block begins an epoch. */
async function untilLastBlock(): Promise<void> {
  const { nextEpoch, block } = await net.chain.metagraph();
  await net.blocks(nextEpoch - block - 1);
}

/** The same chain, over a line that breaks before or behind the calls that `breaks` says. */
function breaking(breaks: (call: Call) => 'before' | 'behind' | null): Chain {
  const { chain } = net;
  const broken = new SwarmError('CHAIN_UNREACHABLE', 'The line broke.');
  return {
    ...{ network: chain.network, netuid: chain.netuid, head: () => chain.head(), metagraph: () => chain.metagraph() },
    ...{ balance: (account) => chain.balance(account), epochs: (limit) => chain.epochs(limit), close: () => chain.close() },
    onEpoch: (listener) => chain.onEpoch(listener),
    submit: async (call, signer) => {
      const where = breaks(call);
      if (where === 'before') throw broken;
      const included = await chain.submit(call, signer);
      if (where === 'behind') throw broken;
      return included;
    },
  };
}

beforeEach(async () => {
  kept = '[]';
  net = await TestNet.open({ revealPeriod: 1 });
  await net.send(['cold', register('v1')], ['cold', register('m1')], ['cold', stake('v1', 100n * TAO)]);
});

it('refuses before it sends: who is not registered, and who holds no permit and would weigh others', async () => {
  await expect(weigher(net.chain, 'stranger').weigh(scores)).rejects.toThrow(refused('HotKeyNotRegisteredInSubNet'));
  await expect(weigher().weigh(scores)).rejects.toThrow(refused('NeuronNoValidatorPermit'));
  expect(net.chain.nextNonce(key('v1').address)).toBe(0);
  // The owner needs none, nor who weighs itself alone.
  await expect(inBlock(weigher(net.chain, 'owner-hot').weigh(scores))).resolves.toMatchObject({ committed: true });
  await expect(inBlock(weigher().weigh(new Map([[key('v1').address, 1]])))).resolves.toMatchObject({ committed: true });
});

it('loses nothing by a restart: what was committed is revealed in its epoch', async () => {
  await untilEpoch(1);
  await expect(inBlock(weigher().weigh(scores))).resolves.toMatchObject({ committed: true });
  const again = weigher();
  await again.reveal();
  expect(pending()).toMatchObject([{ epoch: 1 }]);
  await untilEpoch(2);
  await inBlock(again.reveal());
  expect(pending()).toEqual([]);
  await untilEpoch(3);
  expect((await net.chain.metagraph()).neurons[await net.uid('m1')]!.incentive).toBe(65_535);
});

it('goes by the epoch of the block that the commit is in, not by when it was sent', async () => {
  await untilEpoch(1);
  await untilLastBlock();
  expect(await epoch()).toBe(1);
  await inBlock(weigher().weigh(scores));
  expect(pending()).toMatchObject([{ epoch: 2 }]);
});

it('reveals a commit whose end stayed open if it got there, an epoch later if need be, and else forgets it', async () => {
  await untilEpoch(1);
  await untilLastBlock();
  const line = breaking(({ type }) => (type === 'commitWeights' ? 'behind' : null));
  await expect(inBlock(weigher(line).weigh(scores))).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
  expect(pending()).toMatchObject([{ epoch: 1 }]);
  const next = weigher();
  await inBlock(next.reveal());
  expect(pending()).toMatchObject([{ epoch: 2 }]);
  await untilEpoch(3);
  await inBlock(next.reveal());
  expect(pending()).toEqual([]);

  const dead = weigher(breaking(({ type }) => (type === 'commitWeights' ? 'before' : null)));
  await expect(dead.weigh(scores)).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
  expect(pending()).toHaveLength(1);
  await untilEpoch(4);
  await inBlock(dead.reveal());
  expect(pending()).toEqual([]);
});

it('reveals each on its own: one that fails holds up none, and is tried again', async () => {
  await untilEpoch(1);
  let reveals = 0;
  const one = weigher(breaking(({ type }) => (type === 'revealWeights' && ++reveals === 2 ? 'before' : null)));
  const [first, second] = [key('m1').address, key('v1').address];
  const shares = [1, 2, 3].map(
    (share) =>
      new Map([
        [first, share],
        [second, 4 - share],
      ]),
  );
  for (const share of shares) await inBlock(one.weigh(share));
  await untilEpoch(2);
  await expect(inBlock(one.reveal())).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
  expect([reveals, pending().length]).toEqual([3, 1]);
  await inBlock(one.reveal());
  expect(pending()).toEqual([]);
});

it('says what was lost when nobody revealed in time', async () => {
  await untilEpoch(1);
  await inBlock(weigher().weigh(scores));
  await untilEpoch(3);
  const late = weigher();
  await expect(late.reveal()).rejects.toThrow(refused('ExpiredWeightCommit'));
  await late.reveal();
  expect(pending()).toEqual([]);
});
