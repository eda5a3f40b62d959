/**
 * Neither whoever picks many and answers nothing nor newcomers crowd out the audits by which pay is lost; what is drawn and dropped is not
 * paid, and what another picked costs nobody anything.
 */
import { AUDITS, type AuditedRun, commitHash } from '@starling/audit';
import { Coordinator, type Input } from '@starling/coordinator';
import { type AuditVerdict, encodeFrame, sha256Hex } from '@starling/protocol';
import { expect, it } from 'vitest';
import { Auditor } from './auditor.ts';
import { drawnBy, type House, type Juror, Panel } from './panel.ts';

const MINERS = Array.from({ length: 200 }, (_, i) => `m-${i}`);
const SECRET = 'house';
const CONFIG = {
  ...{
    stages: 1,
    microbatchesPerStep: 1,
    minMicrobatches: 1,
    validationMicrobatches: 0,
    validateEvery: 10,
    steps: 0,
    clip: 'stage' as const,
  },
  ...{ tokensPerMicrobatch: 8, overlap: false, version: 0, parameterHashes: [''], leasePrefix: 't' },
  reduction: { parameters: [8], codec: 'f32', merged: 'f32', means: false, medianClip: null, spotCheck: 0 } as const,
};

const RUN = { stages: [{}], gradient: 'f32' } as unknown as AuditedRun;
const PASSED = { outcome: 'passed' as const, finding: '', checks: [], compared: 1, computeMs: 1 };

const isNewcomer = (minerId: string) => minerId.startsWith('new-');

const data = new Float32Array([1]);

/** `proven` have `held` to lose, each: nothing yet, and it is audited for certain. All but newcomers have a pass behind them. */
function auditorOf(validate: House['validate'], proven: readonly string[], held = 0) {
  const told: string[] = [];
  const made: Extract<Input, { type: 'audited' | 'unaudited' }>[] = [];
  const panel = new Panel(
    { backend: 'cpu', secretOf: () => SECRET, validate },
    { now: () => 0, random: () => 0, tell: (code) => told.push(code) },
  );
  const coordinator = new Coordinator(CONFIG, 0);
  for (const minerId of [...MINERS, ...proven])
    coordinator.state.reputations.set(minerId, { ...coordinator.reputation(minerId), passedAudits: 1 });
  const auditor = new Auditor({
    ...{ run: RUN, panel, coordinator, tell: (code: string) => told.push(code), gradientOf: () => new Float32Array() },
    work: { flopsOf: () => 1, stakes: () => new Map(proven.map((minerId) => [minerId, held + 1])) },
    submit: async (input) => made.push(input as (typeof made)[number]),
  });
  /** In which each of these does one forward. Returns whom the server's own draws, newcomers with the chance `unseen`. */
  async function step(version: number, minerIds: readonly string[], unseen = 1, parameters = data): Promise<string[]> {
    const frame = await encodeFrame(data, [1]);
    const input = { payload: frame, frame, hash: await sha256Hex(data) };
    const said = { inputHash: input.hash, outputHash: null, lossSum: null };
    for (const minerId of minerIds) {
      const receipt = { leaseId: minerId, minerId, kind: 'forward' as const, microbatch: 0, round: 0, said };
      const tensors = { input, tokens: null, upstream: null, output: null };
      auditor.saw(0, version, { ...receipt, ...tensors }, { cells: [] } as never, () => ({ parameters, parameterHash: '' }));
    }
    await auditor.draw(0, version, []);
    const commits = await Promise.all(
      minerIds.map(async (minerId) => ({ minerId, hash: await commitHash([{ leaseId: minerId, ...said }], null) })),
    );
    const rates = minerIds.map((minerId) => {
      if (isNewcomer(minerId)) return unseen;
      return proven.includes(minerId) ? Math.max(AUDITS.newcomer, 1 / (held + 1)) : AUDITS.newcomer;
    });
    return drawnBy(SECRET, { stage: 0, version, epoch: 0, commits, rates });
  }
  return { panel, told, made, step };
}

it('makes every audit that the server’s own validator drew, however many others wait', async () => {
  const { panel, told, made, step } = auditorOf(async () => PASSED, ['m-0']);
  const ask: Juror['ask'] = (name) => {
    if (name === 'commit') return Promise.resolve({ secretHash: '' } as never);
    return name === 'draw' ? Promise.resolve({ minerIds: MINERS } as never) : new Promise(() => {});
  };
  panel.join({ hotkey: 'sloth', backend: 'cpu', ask }, 0);
  // In the second step the server's own draws more than others' picks of the first have left room for.
  for (const [version, minerIds] of [MINERS.slice(0, 70), MINERS].entries()) {
    const own = await step(version, minerIds);
    const audited = () => made.filter((audit) => audit.version === version).map(({ minerId }) => minerId);
    await expect.poll(() => audited().sort()).toEqual(own.toSorted());
    expect(audited(), 'first is not who delivered first').not.toEqual(own);
  }
  const drawn = new Map(made.map((audit) => [audit.minerId, audit.type === 'audited' && audit.drawn]));
  expect(drawn.get('m-0')).toEqual({ rate: 1, times: 1 });
  expect(
    [...drawn.values()].filter((one) => one),
    'of the others nothing counts',
  ).toHaveLength(1);
  expect(told, 'some of others’ picks are dropped').toContain('AUDITS_BEHIND');
});

it('does not let newcomers crowd out who has something to lose, and pays nobody for what it could not look at', async () => {
  const asked: { urgent: boolean; fail(): void }[] = [];
  const newcomers = Array.from({ length: 500 }, (_, i) => `new-${i}`);
  const proven = MINERS.slice(0, 70);
  const { told, made, step } = auditorOf(
    (_, __, urgent) => new Promise((_, reject) => asked.push({ urgent, fail: () => reject(new Error('gone')) })),
    proven,
  );
  const unaudited = () => made.filter(({ type }) => type === 'unaudited');
  const drawn = await step(0, newcomers);
  expect(drawn.length, 'more than can wait').toBeGreaterThan(64);
  expect(told, 'once for all of a step').toEqual(['AUDITS_BEHIND']);
  expect(await step(1, proven)).toEqual(proven);
  await expect.poll(() => asked.filter(({ urgent }) => urgent).length).toBe(64);
  const left = unaudited();
  expect(
    left.map(({ version }) => version),
    'of newcomers nothing counts',
  ).toEqual(left.map(() => 1));
  expect(left).toHaveLength(proven.length - 64);
  expect(left[0]).toMatchObject({ stage: 0, leases: { forward: 1 } });
  expect(
    left.map(({ minerId }) => minerId),
    'whom chance leaves out',
  ).not.toEqual(proven.slice(64));
  // Nor for what its validator could not compute.
  for (const { fail } of asked) fail();
  await expect.poll(() => unaudited().length).toBe(proven.length);
  expect(told).toContain('AUDITS_BEHIND');
});

it('looks at a newcomer’s first step for certain, and so at the next only when that showed nothing', async () => {
  const newcomers = Array.from({ length: 40 }, (_, i) => `new-${i}`);
  const asked: PromiseWithResolvers<AuditVerdict>[] = [];
  const { step } = auditorOf(() => {
    const one = Promise.withResolvers<AuditVerdict>();
    asked.push(one);
    return one.promise;
  }, []);
  expect((await step(0, newcomers)).length).toBe(40);
  const meanwhile = (await step(1, newcomers, AUDITS.newcomer)).length;
  expect(meanwhile, '8 ± 4 · 2.5').toBeLessThan(19);
  await expect.poll(() => asked.length).toBe(40 + meanwhile);
  for (const { resolve } of asked) resolve({ ...PASSED, outcome: 'void' });
  await step(2, newcomers);
  await expect.poll(() => asked.length).toBe(80 + meanwhile);
});

it.each([
  [2 ** 26, 8],
  [2 ** 30, 4],
])('of a stage of %i bytes lets %i audits wait: what they hold must fit', async (byteLength, most) => {
  let waiting = 0;
  const { step } = auditorOf(() => {
    waiting += 1;
    return new Promise(() => {});
  }, []);
  const newcomers = Array.from({ length: 20 }, (_, i) => `new-${i}`);
  const large = { byteLength } as Float32Array<ArrayBuffer>;
  await step(0, newcomers, 1, large);
  await expect.poll(() => waiting).toBe(most);
  await step(1, newcomers, 1, large);
  await step(1, ['new-x'], 1);
  await expect.poll(() => waiting, { message: 'of the second step only that of the small stage' }).toBe(most + 1);
});

it('takes nothing for what another picked, whether it cannot be verified or is dropped', async () => {
  const unverified = { ...PASSED, unverified: { forward: 1 } };
  const { panel, told, made, step } = auditorOf(async () => unverified, MINERS, 99);
  const drawn = Promise.withResolvers<void>();
  const ask: Juror['ask'] = async (name) => {
    if (name === 'commit') return { secretHash: '' } as never;
    if (name === 'draw') return { minerIds: MINERS } as never;
    await drawn.promise;
    return { verdict: unverified } as never;
  };
  panel.join({ hotkey: 'eager', backend: 'cpu', ask }, 0);
  const own = await step(0, MINERS);
  drawn.resolve();
  // All that may wait, of each kind.
  await expect.poll(() => made.length).toBe(own.length + 64);
  expect(told, 'some of others’ picks are dropped').toContain('AUDITS_BEHIND');
  const audits = made.filter((input) => input.type === 'audited');
  expect(audits, 'of which nobody hears').toHaveLength(made.length);
  for (const { verdict, validator } of audits)
    expect({ verdict, validator }, 'by the server’s own numbers').toEqual({ verdict: unverified });
  const costly = audits.filter(({ drawn }) => drawn).map(({ minerId }) => minerId);
  expect(costly.sort()).toEqual(own.toSorted());
});

it('takes less for what was drawn before another draw whose verdict is open too, more where none follows, and both as it is then', async () => {
  const answers: (() => void)[] = [];
  const unverified = { ...PASSED, unverified: { forward: 1 } };
  let holds = false;
  const proven = Array.from({ length: 400 }, (_, i) => `m-${i}`);
  const { made, step } = auditorOf(
    () => (holds ? new Promise((resolve) => answers.push(() => resolve(unverified))) : Promise.resolve(PASSED)),
    ...[proven, 3],
  );
  // What was dropped takes nothing later.
  const all = await step(0, proven);
  await expect.poll(() => made.length).toBe(all.length);
  const { minerId } = made.find(({ type }) => type === 'unaudited')!;
  made.length = 0;
  holds = true;
  const draws: boolean[] = [];
  for (let version = 1; version < 25; version++) {
    draws.push((await step(version, [minerId])).length > 0);
    await expect.poll(() => answers.length).toBe(draws.filter((isDrawn) => isDrawn).length);
    // Verdicts come when the next step is drawn.
    const due = draws.slice(0, -1).filter((isDrawn) => isDrawn).length;
    if (due > made.length) answers[due - 1]!();
    await expect.poll(() => made.length).toBe(due);
  }
  // A draw may take all 4 that are at stake, and the next one all but 1 of the 5 then: it leaves 1; or the earlier takes 5, 3 times in 4.
  const times = draws.slice(0, -1).flatMap((isDrawn, i) => (isDrawn ? [draws[i + 1] ? 1 : 5] : []));
  expect(new Set(times)).toEqual(new Set([1, 5]));
  expect(made.map((audit) => audit.type === 'audited' && audit.drawn)).toEqual(times.map((times) => ({ rate: 0.25, times })));
});
