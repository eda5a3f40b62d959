/** When weights are tried again: on a clock that is moved by hand, at a chain whose faults are named. */
import { type Chain, ChainRefusal, type CommitsKept, type EpochPaid, type Metagraph, Sr25519Key } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WeightsLoop } from './weights-loop.ts';

const RETRY_MS = 12_000;
const validator = Sr25519Key.development('validator');
const miner = Sr25519Key.development('miner').address;

/** What the next calls meet, in order; null: it is taken. */
let faults: (Error | Promise<never> | null)[];
let asked: string[];
let told: (string | null)[];
let set: number[];
let closeEpoch: () => void;
let revealPeriod: number | null;
let epoch: number;
let loop: WeightsLoop;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  [faults, asked, told, set, closeEpoch, revealPeriod, epoch] = [[], [], [], [], () => {}, null, 0];
});
afterEach(() => {
  loop.close();
  expect(vi.getTimerCount(), 'nothing is left to be tried once it is closed').toBe(0);
  vi.useRealTimers();
});

function open(commits: CommitsKept = { read: async () => [], write: async () => {} }): void {
  const neurons = [validator.address, miner].map((hotkey, uid) => ({ uid, hotkey, lastUpdate: 0, permit: true }));
  const rules = { minAllowedWeights: 1, maxWeightLimit: 65_535, weightsRateLimit: 0, weightsVersion: 0 };
  const chain = {
    netuid: 9,
    metagraph: async () => ({ block: 1, epoch, rules: { ...rules, revealPeriod }, neurons }) as unknown as Metagraph,
    submit: async ({ type }: { type: string }) => {
      asked.push(type);
      const fault = faults.shift();
      if (fault) throw await fault;
      return { block: 1, epoch };
    },
    onEpoch: (listener: (paid: EpochPaid) => void) => {
      closeEpoch = () => listener({} as EpochPaid);
      return () => {
        closeEpoch = () => {};
      };
    },
  } as unknown as Chain;
  loop = new WeightsLoop(chain, validator, {
    prepare: async () => {},
    onSet: ({ round }) => set.push(round),
    tell: (trouble) => told.push(trouble?.code ?? null),
    retryMs: RETRY_MS,
    commits,
  });
}
const scores = (round: number) => ({ round, scores: new Map([[miner, 1]]) });
/** Time passes, and what it brings is done. */
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const unreachable = () => new SwarmError('CHAIN_UNREACHABLE', 'The node is down.');

it('tries again a block later, until the chain takes them, and no more then', async () => {
  open();
  faults = [unreachable(), unreachable()];
  loop.set(scores(1));
  await pass(0);
  expect([asked.length, told]).toEqual([1, ['CHAIN_UNREACHABLE']]);
  await pass(RETRY_MS - 1);
  expect(asked).toHaveLength(1);
  await pass(1);
  expect([asked.length, set]).toEqual([2, []]);
  await pass(RETRY_MS);
  expect([asked.length, set, told.at(-1)]).toEqual([3, [1], null]);
  await pass(10 * RETRY_MS);
  expect(asked).toHaveLength(3);
});

it('is patient without a word where it is only too soon', async () => {
  open();
  faults = [new ChainRefusal('SettingWeightsTooFast', 'Too soon.')];
  loop.set(scores(1));
  await pass(0);
  await pass(RETRY_MS);
  expect([set, told]).toEqual([[1], [null]]);
});

it('sets the newest scores only, whatever came while it tried', async () => {
  open();
  const { promise, reject } = Promise.withResolvers<never>();
  faults = [promise];
  loop.set(scores(1));
  await pass(0);
  // The call is under way: nothing else is sent meanwhile, however many rounds go by.
  for (const round of [2, 3]) loop.set(scores(round));
  await pass(10 * RETRY_MS);
  expect(asked).toHaveLength(1);
  reject(unreachable());
  await pass(RETRY_MS);
  expect(set).toEqual([3]);
});

it('has one timer, however often it is asked', async () => {
  open();
  faults = Array.from({ length: 5 }, unreachable);
  for (let round = 1; round <= 5; round++) {
    loop.set(scores(round));
    await pass(0);
  }
  expect([asked.length, vi.getTimerCount()]).toEqual([5, 1]);
  await pass(RETRY_MS);
  expect(set).toEqual([5]);
});

it('reveals what a process of before committed, and tries that again, too', async () => {
  revealPeriod = 1;
  epoch = 4;
  const kept = [{ uids: [1], values: [65_535], salt: [1], version: 0, epoch: 3 }];
  let left: unknown = kept;
  faults = [unreachable()];
  open({
    read: async () => kept,
    write: async (commits) => {
      left = commits;
    },
  });
  await pass(0);
  expect([asked, told]).toEqual([['revealWeights'], ['CHAIN_UNREACHABLE']]);
  await pass(RETRY_MS);
  expect([asked, left]).toEqual([['revealWeights', 'revealWeights'], []]);
  closeEpoch();
  await pass(0);
  expect(asked, 'nothing is left to be revealed').toHaveLength(2);
});

it('says nothing and tries nothing once it is closed', async () => {
  open();
  const { promise, reject } = Promise.withResolvers<never>();
  faults = [promise];
  loop.set(scores(1));
  await pass(0);
  loop.close();
  reject(unreachable());
  await pass(10 * RETRY_MS);
  loop.set(scores(2));
  closeEpoch();
  await pass(10 * RETRY_MS);
  expect([asked.length, told]).toEqual([1, []]);
});
