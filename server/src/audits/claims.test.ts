/** What cannot be verified costs its pay on average, over all draws that there can be, and never more than there is: by the ledger itself. */
import { AUDITS, rateAtStake } from '@starling/audit';
import type { Effect } from '@starling/coordinator';
import type { LeaseKind } from '@starling/protocol';
import { expect, it } from 'vitest';
import { Rounds } from '../rounds.ts';
import { type Claim, Claims } from './claims.ts';
import { stakesIn } from './stakes.ts';
import type { Scene } from './witness.ts';

const FLOPS = { forward: 1e9, backward: 3e9, evaluate: 1e9 };
const flopsOf = ({ kind }: { kind: LeaseKind }) => FLOPS[kind];
const ownerOf = () => 'A';
/** Microbatches of a miner in a step, each a forward and a backward. */
const MANY = 4;
const PAY = MANY * (FLOPS.forward + FLOPS.backward);

interface Life {
  /** Honest steps that are held before. */
  held: number;
  /** Of the device's, in each step. */
  miners: string[];
  /** Microbatches of its first miner that cannot be verified, in each step after them. */
  steps: number[];
  /** Steps after its own in which a verdict comes; −1: before its own is merged. */
  delay: number;
  /** Merged when the next step is drawn, as with overlap. */
  late: boolean;
  /** The chance where little is at stake. */
  floor: number;
}

/** One such life; `drawn` tells what is drawn, in order. Returns the chance of that, and FLOPs taken and left. */
function live(
  { held, miners, steps, delay, late, floor }: Life,
  drawn: readonly boolean[],
): { chance: number; taken: number; left: number } {
  const parts = { steps: 1, hold: 99, halfLife: 9, audited: true, flopsOf, factsOf: (name: string) => ({ name, device: 'A' }) };
  const rounds = new Rounds(parts, { round: 1, flops: new Map(), unverified: new Map(), passed: new Set(), convicted: new Set() });
  const claims = new Claims();
  let [chance, taken, step, draws] = [1, 0, 0, 0];
  const due: { at: number; claim: Claim; minerId: string; microbatches: number }[] = [];
  const take = (effect: Effect) => rounds.take(effect, 1);
  const close = () => take({ type: 'closed', step: step++, tokens: 1, lossSum: 1, validation: null, norms: [1] });
  const forwards = () => {
    for (const minerId of miners)
      for (let microbatch = 0; microbatch < MANY; microbatch++) {
        const work = { kind: 'forward' as const, stage: 0, version: step, microbatch, tookMs: 1 };
        take({ type: 'settled', minerId, leaseId: '', outcome: 'counted', work });
      }
  };
  const merge = () => {
    for (const minerId of miners) take({ type: 'included', minerId, stage: 0, version: step, microbatches: MANY });
  };
  const verdicts = (now: number) => {
    for (const { claim, minerId, microbatches } of due.splice(0, due.findLastIndex(({ at }) => at <= now) + 1)) {
      const { rate, times } = claim;
      const leases = { forward: microbatches, backward: microbatches };
      taken += rounds.leaveOut({ type: 'unverified', minerId, stage: 0, version: 0, leases, drawn: { rate, times } });
      claims.close(claim);
    }
  };
  take({ type: 'passed', minerId: miners[0]!, stage: 0, version: 0 });
  close();
  for (let i = 0; i < held; i++) {
    forwards();
    merge();
    close();
  }
  for (const [i, microbatches] of steps.entries()) {
    forwards();
    verdicts(i - 1);
    const kinds: LeaseKind[] = ['forward', 'backward'];
    const receipts = miners.flatMap((minerId) => kinds.flatMap((kind) => Array.from({ length: MANY }, () => ({ minerId, kind }))));
    const { work, held: beside } = stakesIn({ stage: 0, receipts } as unknown as Scene, [], {
      ownerOf,
      flopsOf,
      stakes: () => rounds.stakes(),
    })('')!;
    const rate = Math.max(floor, rateAtStake(work, beside));
    for (const [j, minerId] of miners.entries()) {
      const isDrawn = drawn[draws++]!;
      chance *= isDrawn ? rate : 1 - rate;
      if (chance === 0) return { chance, taken, left: 0 };
      const claim = claims.add({ owner: 'A', work: PAY, rate, held: beside }, isDrawn);
      if (claim) due.push({ at: i + delay, claim, minerId, microbatches: j === 0 ? microbatches : 0 });
    }
    if (delay < 0) verdicts(i - 1);
    if (!late || i > 0) merge();
    close();
  }
  if (late) merge();
  verdicts(Infinity);
  return { chance, taken, left: rounds.stakes().get('A')! };
}

/** Of every life, by what is drawn. */
function* lives(life: Life) {
  const draws = life.steps.length * life.miners.length;
  for (let bits = 0; bits < 2 ** draws; bits++) {
    const one = live(
      life,
      Array.from({ length: draws }, (_, i) => ((bits >> i) & 1) === 1),
    );
    if (one.chance > 0) yield one;
  }
}

const ALL = [[MANY], [MANY, MANY, MANY], [MANY, 0, 0], [1, MANY, 3]];

it.each([0, 1, 2, 4, 9, 24])('with %i steps held, in one or in many, by one miner or two, whenever their verdicts come', (held) => {
  for (const miners of [['a'], ['a', 'b']])
    for (const floor of [AUDITS.floor, AUDITS.newcomer])
      for (const delay of [-1, 0, 9])
        for (const [i, steps] of ALL.entries()) {
          const life = { held, miners, steps, delay, late: i % 2 === 1, floor };
          let [chance, expected, least] = [0, 0, 0];
          for (const one of lives(life)) {
            chance += one.chance;
            expected += one.chance * one.taken;
            least = Math.min(least, one.left);
          }
          // Each verdict is rounded to a FLOP.
          expect(least, `never more than there is: ${JSON.stringify(life)}`).toBeGreaterThanOrEqual(-steps.length);
          const unverified = steps.reduce((sum, microbatches) => sum + (microbatches / MANY) * PAY, 0);
          expect(chance).toBeCloseTo(1, 9);
          expect(expected / unverified, JSON.stringify(life)).toBeCloseTo(1, 8);
        }
});

it('of one device are no matter of another', () => {
  const claims = new Claims();
  const claim = claims.add({ owner: 'A', work: 1, rate: 0.25, held: 3 }, true)!;
  for (const isDrawn of [true, false]) claims.add({ owner: 'B', work: 1, rate: 0.25, held: 3 }, isDrawn);
  expect(claim.times).toBe(4);
});

it('stays a number when a later draw that left nothing to an earlier one is closed first', () => {
  const claims = new Claims();
  const draw = (held: number, isDrawn: boolean) => claims.add({ owner: 'A', work: 1, rate: rateAtStake(1, held), held }, isDrawn);
  const first = draw(1, true)!;
  const second = draw(2, true)!;
  expect(first.times).toBe(0);
  claims.close(second);
  draw(3, false);
  expect(first.times).toBe(0);
});
