/** Honest work passes whoever computes it again, exact things are exact, and false things fail by name. */

import type { Vector } from '@starling/codecs';
import { beforeAll, describe, expect, it } from 'vitest';
import { audit } from './audit.ts';
import type { Evidence, GivenLease, StageWork } from './evidence.ts';
import { LIMITS, RUN, rehearsalOf, replayerOn } from './for-tests.ts';
import { judge } from './judge.ts';
import type { Replayed, Replayer } from './replay.ts';
import { evidenceOf } from './zoo/index.ts';

describe('an audit', () => {
  let replayer: Replayer;
  /** Of the second step, by stage. */
  let works: StageWork[];
  let done: Replayed[];
  let evidence: Evidence[];
  const verdictOf = (of: Evidence) => audit(replayer, RUN, of, LIMITS);

  beforeAll(async () => {
    replayer = await replayerOn('wasm');
    const rehearsal = rehearsalOf((_, work) => replayer.replay(work));
    await rehearsal.step();
    works = await rehearsal.step();
    done = [];
    for (const work of works) done.push(await replayer.replay(work));
    evidence = await Promise.all(works.map((work, i) => evidenceOf(work, done[i]!)));
  });

  it('passes honest work of every stage, and compares all of it', async () => {
    const verdicts = [];
    for (const of of evidence) verdicts.push(await verdictOf(of));
    expect(verdicts.map(({ outcome }) => outcome)).toEqual(['passed', 'passed', 'passed']);
    // Four microbatches: outputs and a sum; outputs, input gradients and a sum; input gradients, losses and a sum.
    expect(verdicts.map(({ compared }) => compared)).toEqual([5, 9, 9]);
    // The same thread, the same bits.
    expect(verdicts.flatMap(({ checks }) => checks.map(({ relativeL2 }) => relativeL2)).every((error) => error === 0)).toBe(true);
  });

  it('passes a single forward, but no backwards without their gradient', async () => {
    const of = evidence[1]!;
    expect(await verdictOf({ ...of, leases: of.leases.slice(0, 1), gradient: null })).toMatchObject({ outcome: 'passed', compared: 1 });
    const unsummed = ({ leases, ...rest }: Evidence) => ({
      ...rest,
      leases: leases.map((lease) => ({ ...lease, inSum: false })),
      gradient: null,
    });
    for (const whole of evidence)
      expect(await verdictOf(unsummed(whole))).toMatchObject({ outcome: 'void', finding: expect.stringContaining('no gradient') });
    // The first stage's backwards leave nothing else to compare.
    const backwards = { ...evidence[0]!, leases: evidence[0]!.leases.filter(({ kind }) => kind === 'backward') };
    expect(await verdictOf(unsummed(backwards))).toMatchObject({ outcome: 'void', compared: 0 });
  });

  it('fails what is false beside backwards without their gradient', async () => {
    const sent = structuredClone(done[0]!);
    sent.outcomes[0]!.output!.fill(0.5, 7, 8);
    expect(await verdictOf({ ...(await evidenceOf(works[0]!, sent)), gradient: null })).toMatchObject({ outcome: 'failed' });
  });

  it.each([
    ['one element of an output', ({ outcomes }: Replayed) => outcomes[0]!.output!.fill(0.5, 7, 8), /activations of microbatch 4 is off by/],
    [
      'a loss',
      ({ outcomes }: Replayed) => Object.assign(outcomes[0]!, { lossSum: outcomes[0]!.lossSum! * 1.001 }),
      /loss of microbatch 4 is off by 1.0e-3/,
    ],
    ['an element of the gradient sum', ({ gradient }: Replayed) => gradient!.fill(9, 3, 4), /gradient sum is off by/],
    ['NaN', ({ gradient }: Replayed) => gradient!.fill(Number.NaN), /gradient sum has nothing in common/],
  ])('fails %s that is false', async (what, falsify, finding) => {
    const stage = what === 'a loss' ? 2 : 0;
    const sent = structuredClone(done[stage]!);
    falsify(sent);
    const verdict = await verdictOf(await evidenceOf(works[stage]!, sent));
    expect(verdict.outcome).toBe('failed');
    expect(verdict.finding).toMatch(finding);
    expect(verdict.checks.filter(({ passed }) => !passed)).toHaveLength(1);
  });

  it('fails a gradient of nothing, and one that leaves a microbatch out', async () => {
    const nothing = { ...evidence[0]!, leases: evidence[0]!.leases.map((lease) => ({ ...lease, inSum: false })) };
    expect((await verdictOf(nothing)).outcome).toBe('failed');
    const fewer = { ...works[0]!, leases: works[0]!.leases.map((lease, i) => ({ ...lease, inSum: lease.inSum && i % 2 === 0 })) };
    const { gradient } = await replayer.replay(fewer);
    expect((await verdictOf({ ...evidence[0]!, gradient })).outcome).toBe('failed');
  });

  it('blames nobody for evidence that is not what was signed', async () => {
    const of = evidence[1]!;
    const [first, ...rest] = of.leases;
    const other = first!.input.slice() as Float32Array<ArrayBuffer>;
    other[0]! += 1;
    const stored = { ...of, leases: [{ ...first!, input: other }, ...rest] };
    expect(await verdictOf(stored)).toMatchObject({ outcome: 'void', finding: expect.stringContaining('input of microbatch 4') });
    const relayed = { ...of, leases: [{ ...first!, output: other }, ...rest] };
    expect(await verdictOf(relayed)).toMatchObject({ outcome: 'void', finding: expect.stringContaining('output of microbatch 4') });
    const parameters = of.parameters.slice();
    parameters[0]! += 1;
    expect(await verdictOf({ ...of, parameters })).toMatchObject({ outcome: 'void', finding: expect.stringContaining('parameters') });
  });

  it.each([
    ['a hash of no output', 0, { outputHash: 'f'.repeat(64) }],
    ['a loss where there is none', 0, { lossSum: 1 }],
    ['no loss where there is one', 2, { lossSum: null }],
  ])('fails who signed %s: no signature of its own makes an audit void', async (_, stage, said) => {
    const of = evidence[stage]!;
    const leases = of.leases.map((lease) => (lease.kind === 'backward' ? { ...lease, said: { ...lease.said, ...said } } : lease));
    expect(await verdictOf({ ...of, leases })).toMatchObject({ outcome: 'failed', finding: expect.stringContaining('4 of') });
  });

  it('takes a misshapen answer for what it is', async () => {
    const sent = structuredClone(done[1]!);
    sent.outcomes[0]!.output = new Float32Array(3);
    expect((await verdictOf(await evidenceOf(works[1]!, sent))).outcome).toBe('failed');
  });
});

describe('on inputs that another miner chose', () => {
  /** Of a work of the last stage. */
  const withInput = (work: StageWork, input: Vector): StageWork => ({ ...work, leases: [{ ...work.leases[0]!, input }] });

  /** Rows of one length on which the gradient of the input all but cancels in the first norm: a few steps down that gradient. */
  async function cancelling(replayer: Replayer, work: StageWork): Promise<StageWork> {
    const { width } = RUN.model;
    const rows = (x: Vector) => Array.from({ length: x.length / width }, (_, row) => x.subarray(row * width, (row + 1) * width));
    const lengthOf = (row: Vector) => Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    const normed = (x: Vector) => Float32Array.from(rows(x).flatMap((row) => [...row.map((value) => value / lengthOf(row))]));
    let at = normed(work.leases[0]!.input as Vector);
    let first: number[] | null = null;
    for (let i = 0; i < 7; i++) {
      const { outcomes } = await replayer.replay(
        withInput(
          work,
          at.map((value) => 1_000 * value),
        ),
      );
      const gradient = outcomes[0]!.output as Vector;
      first ??= rows(gradient).map(lengthOf);
      at = normed(at.map((value, k) => value - gradient[k]! / first![Math.floor(k / width)]!));
    }
    return withInput(
      work,
      at.map((value) => 1_000 * value),
    );
  }

  it('condemns nobody where honest results differ by their whole length, and finds lies beside it', async () => {
    const wasm = await replayerOn('wasm');
    const rehearsal = rehearsalOf((_, work) => wasm.replay(work));
    await rehearsal.step();
    const [, , last] = await rehearsal.step();
    const { leases } = await cancelling(wasm, last!);
    const work = { ...last!, leases: [...leases, ...last!.leases.slice(1)] };
    const cpu = await replayerOn('cpu');
    const honest = await cpu.replay(work);
    const replayer = await replayerOn('wasm');
    const evidence = await evidenceOf(work, honest);
    const bare = judge(RUN, evidence, await replayer.replay(work), LIMITS);
    expect(bare.outcome, 'its length alone would condemn it').toBe('failed');
    expect(bare.checks[0]!.relativeL2).toBeGreaterThan(0.01);
    const finding = expect.stringContaining('ill-conditioned');
    expect(await audit(replayer, RUN, evidence, LIMITS)).toMatchObject({
      ...{ outcome: 'passed', finding, compared: 9 },
      // The rest of what it did was seen.
      unverified: { backward: 1 },
    });
    for (const falsify of [
      (sent: Replayed) => (sent.outcomes[0]!.output as Vector).fill(0),
      (sent: Replayed) => (sent.outcomes[1]!.output as Vector).fill(0.5, 7, 8),
      (sent: Replayed) => Object.assign(sent.outcomes[0]!, { lossSum: sent.outcomes[0]!.lossSum! * 1.01 }),
      (sent: Replayed) => sent.gradient!.fill(9, 3, 4),
    ]) {
      const sent = structuredClone(honest);
      falsify(sent);
      expect((await audit(replayer, RUN, await evidenceOf(work, sent), LIMITS)).outcome).toBe('failed');
    }
  });

  it('fails who answers with numbers where there can be none, and all that is false beside it', async () => {
    const replayer = await replayerOn('wasm');
    const [first] = await rehearsalOf((_, work) => replayer.replay(work)).step();
    const clean = await replayer.replay(first!);
    const leases = first!.leases.map((lease) =>
      lease.kind === 'backward' ? { ...lease, upstream: lease.upstream!.map(() => 3e38) } : lease,
    );
    const poisoned = { ...first!, leases: leases as GivenLease[] };
    expect((await replayer.replay(poisoned)).gradient!.every(Number.isFinite), 'it overflows').toBe(false);
    expect(await audit(replayer, RUN, await evidenceOf(poisoned, clean), LIMITS)).toMatchObject({
      ...{ outcome: 'failed', finding: expect.stringContaining('1 of 5 comparisons failed: against the replay, the gradient sum has') },
    });
  });
});

it.each(['f16', 'int8', 'int4'] as const)('holds %s against %s, as it was written for the wire', async (boundary) => {
  const run = { ...RUN, boundary };
  const made = await replayerOn('wasm', run);
  const [, middle] = await rehearsalOf((_, work) => made.replay(work), run).step();
  const evidence = await evidenceOf(middle!, await made.replay(middle!));
  expect(evidence.leases[0]!.output).toBeInstanceOf(Uint8Array);
  expect(await audit(made, run, evidence, LIMITS)).toMatchObject({ outcome: 'passed' });
});

it('passes on wasm what was computed on cpu', async () => {
  const cpu = await replayerOn('cpu');
  const [, middle] = await rehearsalOf((_, work) => cpu.replay(work)).step();
  const evidence = await evidenceOf(middle!, await cpu.replay(middle!));
  const verdict = await audit(await replayerOn('wasm'), RUN, evidence, LIMITS);
  expect(verdict.outcome).toBe('passed');
  expect(verdict.checks.some(({ relativeL2 }) => relativeL2 > 0)).toBe(true);
});
