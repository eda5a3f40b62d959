/** Distances, draws, rates and loss attribution: pure arithmetic. */
import { splitMix32 } from '@starling/model';
import { describe, expect, it } from 'vitest';
import { LossAttribution } from './attribution.ts';
import { challengeSeed, chanceOf, commitHash, drawAudits, inDrawnOrder } from './challenge.ts';
import { distanceOf } from './compare.ts';
import { AUDITS, auditRate } from './rates.ts';

describe('distances', () => {
  it('are those of the formulas', () => {
    expect(distanceOf([3, 4], [3, 4])).toEqual({ cosineDistance: 0, relativeL2: 0 });
    expect(distanceOf([0, 2], [2, 0]).cosineDistance).toBeCloseTo(1, 15);
    expect(distanceOf([-3, -4], [3, 4])).toEqual({ cosineDistance: 2, relativeL2: 2 });
    expect(distanceOf([6, 8], [3, 4])).toEqual({ cosineDistance: 0, relativeL2: 1 });
    expect(distanceOf([99], [100])).toEqual({ cosineDistance: 0, relativeL2: expect.closeTo(0.01, 15) });
  });

  it('keep digits where 1 − cosine would lose them', () => {
    const angle = 1e-10;
    expect(distanceOf([1, angle], [1, 0]).cosineDistance).toBeCloseTo(angle ** 2 / 2, 28);
  });

  it('are infinite for what is nothing, of another size, or no number', () => {
    const farthest = { cosineDistance: Infinity, relativeL2: Infinity };
    for (const claim of [[0, 0], [1], [Number.NaN, 1], [Infinity, 0]]) expect(distanceOf(claim, [1, 1])).toEqual(farthest);
    expect(distanceOf([1, 0], [0, 0])).toEqual(farthest);
    expect(distanceOf([0, 0], [0, 0]).relativeL2).toBe(0);
    expect(distanceOf([Number.NaN], [1])).toEqual(farthest);
  });
});

describe('the challenge', () => {
  const commits = Array.from({ length: 2_000 }, (_, i) => ({ minerId: `m${i}`, hash: `${i}` }));

  it('depends on the secret, on every commit, and on nothing else', async () => {
    const seed = await challengeSeed('s', 1, 7, commits.slice(0, 3));
    expect(await challengeSeed('s', 1, 7, commits.slice(0, 3).toReversed())).toBe(seed);
    const others = [
      challengeSeed('t', 1, 7, commits.slice(0, 3)),
      challengeSeed('s', 0, 7, commits.slice(0, 3)),
      challengeSeed('s', 1, 8, commits.slice(0, 3)),
      challengeSeed('s', 1, 7, [{ ...commits[0]!, hash: 'x' }, commits[1]!, commits[2]!]),
    ];
    expect(new Set([seed, ...(await Promise.all(others))]).size).toBe(5);
  });

  it('is over what was signed, in any order', async () => {
    const receipts = [
      { leaseId: 'a', inputHash: '1', outputHash: null, lossSum: 2.5 },
      { leaseId: 'b', inputHash: '2', outputHash: '3', lossSum: null },
    ];
    const hash = await commitHash(receipts, 'g');
    expect(await commitHash(receipts.toReversed(), 'g')).toBe(hash);
    expect(await commitHash([{ ...receipts[0]!, lossSum: 2.6 }, receipts[1]!], 'g')).not.toBe(hash);
    expect(await commitHash(receipts, null)).not.toBe(hash);
  });

  it('draws each with its own chance', async () => {
    const seed = await challengeSeed('s', 0, 0, commits);
    const drawn = await drawAudits(seed, commits, (id) => (Number(id.slice(1)) < 1_000 ? 0.3 : 0.05));
    const often = drawn.filter((id) => Number(id.slice(1)) < 1_000).length;
    // Binomial: 300 ± 4 · 14.5 and 50 ± 4 · 6.9.
    expect(Math.abs(often - 300)).toBeLessThan(58);
    expect(Math.abs(drawn.length - often - 50)).toBeLessThan(28);
    expect(await drawAudits(seed, commits, () => 0)).toEqual([]);
    expect((await drawAudits(seed, commits, () => 1)).length).toBe(2_000);
    expect(await chanceOf(seed, 'm1')).toBe(await chanceOf(seed, 'm1'));
  });

  it('puts them in an order that is the secret’s own, whoever came first', async () => {
    const ids = commits.slice(0, 20).map(({ minerId }) => minerId);
    const order = await inDrawnOrder('s', ids);
    expect(await inDrawnOrder('s', ids.toReversed())).toEqual(order);
    expect(order.toSorted()).toEqual(ids.toSorted());
    for (const other of [ids, await inDrawnOrder('t', ids)]) expect(order).not.toEqual(other);
  });
});

describe('rates', () => {
  it('are never under the floor, and the floor makes cheating lose', () => {
    expect(AUDITS.floor).toBeGreaterThan(1 / (AUDITS.heldSteps + 1));
    const grid = [0, 29, 30, 1e6].flatMap((cleanSteps) =>
      [0, 3].flatMap((failures) => [-9, 0, 3.6].map((zScore) => auditRate({ unseen: false, cleanSteps, failures, zScore }))),
    );
    expect(Math.min(...grid)).toBe(AUDITS.floor);
    expect(Math.max(...grid)).toBe(AUDITS.suspicious);
  });

  it('fall with clean steps and rise with suspicion', () => {
    const rateOf = (standing: object) => auditRate({ unseen: false, cleanSteps: 0, failures: 0, zScore: 0, ...standing });
    expect(rateOf({ unseen: true })).toBe(1);
    expect(rateOf({})).toBe(AUDITS.newcomer);
    expect(rateOf({ cleanSteps: AUDITS.newcomerSteps })).toBe(AUDITS.floor);
    expect(rateOf({ cleanSteps: 1e3, zScore: 4 })).toBe(AUDITS.suspicious);
    expect(rateOf({ cleanSteps: 5, failures: 1 })).toBe(AUDITS.suspicious);
    expect(rateOf({ cleanSteps: 1e3, failures: 1 })).toBe(AUDITS.floor);
  });
});

describe('loss attribution', () => {
  /** Paths over 3 stages of 3 miners each, at random; `bad` adds `excess` to the loss of its paths. */
  function observed(bad: string | null, excess: number, steps = 60): LossAttribution {
    const attribution = new LossAttribution();
    const next = splitMix32(5);
    const uniform = () => next() / 2 ** 32;
    for (let step = 0; step < steps; step++) {
      for (let i = 0; i < 6; i++) {
        const path = [0, 1, 2].map((stage) => `${stage}.${next() % 3}`);
        const noise = uniform() + uniform() + uniform() - 1.5;
        attribution.add({ step, path, loss: 5 - step / 20 + noise / 5 + (bad && path.includes(bad) ? excess : 0) });
      }
    }
    return attribution;
  }

  it('finds the one whose paths end badly, at its stage', () => {
    const scores = observed('1.2', 0.2).scores();
    const [worst, ...others] = scores.toSorted((a, b) => b.zScore - a.zScore);
    expect(worst).toMatchObject({ stage: 1, minerId: '1.2' });
    expect(worst!.zScore).toBeGreaterThan(AUDITS.suspiciousScore);
    expect(worst!.excess).toBeCloseTo(0.2, 1);
    expect(others.every(({ zScore }) => zScore < AUDITS.suspiciousScore)).toBe(true);
  });

  it('accuses nobody where all are alike, and forgets', () => {
    expect(
      observed(null, 0)
        .scores()
        .every(({ zScore }) => Math.abs(zScore) < AUDITS.suspiciousScore),
    ).toBe(true);
    const attribution = observed('0.0', 1);
    for (let i = 0; i < 18; i++) attribution.add({ step: 1_000, path: [`0.${i % 2}`, '1.0', '2.0'], loss: 1 + i / 10 });
    expect(attribution.scores().map(({ minerId, samples }) => [minerId, samples])).toEqual([
      ['0.1', 9],
      ['0.0', 9],
    ]);
  });

  it('has no opinion on a few samples, nor against a few', () => {
    const attribution = new LossAttribution();
    for (let i = 0; i < 27; i++) attribution.add({ step: 0, path: [i < 20 ? 'a' : 'b'], loss: i });
    expect(attribution.scores()).toEqual([]);
    attribution.add({ step: 0, path: ['b'], loss: 27 });
    expect(attribution.scores().map(({ minerId }) => minerId)).toEqual(['b', 'a']);
  });

  /** Skewed losses, as texts have them: most are alike, some are much harder. */
  const SKEWED: [string, (uniform: () => number) => number][] = [
    ['exponential', (uniform) => -Math.log(1 - uniform())],
    ['log-normal', (uniform) => Math.exp(Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()))],
  ];

  it('has none on miners that are alone at their stages, however long they go on', () => {
    const attribution = new LossAttribution();
    const next = splitMix32(9);
    for (let i = 0; i < 1_600; i++)
      attribution.add({ step: Math.floor(i / 16), path: ['a', 'b'], loss: 5 + SKEWED[0]![1](() => next() / 2 ** 32) });
    expect(attribution.scores()).toEqual([]);
  });

  it.each(SKEWED)('accuses fewer than 1 of 1,000 honest miners where losses are %s, and finds who worsens them', (_, draw) => {
    const next = splitMix32(11);
    const uniform = () => next() / 2 ** 32;
    const honest: number[] = [];
    for (let trial = 0; trial < 500; trial++) {
      const attribution = new LossAttribution();
      // From a few samples of each to hundreds.
      const steps = 6 + (trial % 20) * 4;
      for (let i = 0; i < 8 * steps; i++)
        attribution.add({ step: Math.floor(i / 8), path: [`0.${next() % 2}`, `1.${next() % 4}`], loss: 5 + draw(uniform) });
      honest.push(...attribution.scores().map(({ zScore }) => zScore));
    }
    expect(honest.length).toBeGreaterThan(2_500);
    const accused = honest.filter((score) => score > AUDITS.suspiciousScore).length;
    expect(accused / honest.length).toBeLessThan(0.001);
    const attribution = new LossAttribution();
    for (let i = 0; i < 1_600; i++) {
      const path = [`0.${next() % 2}`, `1.${next() % 4}`];
      attribution.add({ step: Math.floor(i / 16), path, loss: 5 + draw(uniform) + (path.includes('1.2') ? 0.4 : 0) });
    }
    const found = attribution.scores().filter(({ zScore }) => zScore > AUDITS.suspiciousScore);
    expect(found.map(({ minerId }) => minerId)).toEqual(['1.2']);
  });
});
