/** Whoever picks many and answers nothing crowds out none of the audits that the server's own validator drew. */
import { AUDITS, type AuditedRun, commitHash } from '@starling/audit';
import { Coordinator, type Input } from '@starling/coordinator';
import { encodeFrame, sha256Hex } from '@starling/protocol';
import { expect, it } from 'vitest';
import { Auditor } from './auditor.ts';
import { drawnBy, type Juror, Panel } from './panel.ts';

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

it('makes every audit that the server’s own validator drew, however many others wait', async () => {
  const told: string[] = [];
  const made: Extract<Input, { type: 'audited' }>[] = [];
  const passed = { outcome: 'passed' as const, finding: '', checks: [], compared: 1, computeMs: 1 };
  const panel = new Panel(
    { backend: 'cpu', secretOf: () => SECRET, validate: async () => passed },
    { now: () => 0, random: () => 0, tell: (code) => told.push(code) },
  );
  const run = { stages: [{}], gradient: 'f32' } as unknown as AuditedRun;
  const auditor = new Auditor({
    ...{ run, panel, tell: (code: string) => told.push(code), gradientOf: () => new Float32Array() },
    // It knows nobody: all are newcomers. One's work counts, and it has nothing to lose yet.
    work: { flopsOf: () => 1, stakes: () => new Map([['m-0', 0]]) },
    coordinator: new Coordinator(CONFIG, 0),
    submit: async (input) => made.push(input as (typeof made)[number]),
  });
  const ask: Juror['ask'] = (name) => {
    if (name === 'commit') return Promise.resolve({ secretHash: '' } as never);
    return name === 'draw' ? Promise.resolve({ minerIds: MINERS } as never) : new Promise(() => {});
  };
  panel.join({ hotkey: 'sloth', backend: 'cpu', ask }, 0);
  const data = new Float32Array([1]);
  const frame = await encodeFrame(data, [1]);
  const input = { payload: frame, frame, hash: await sha256Hex(data) };
  const said = { inputHash: input.hash, outputHash: null, lossSum: null };

  // In the second step the server's own draws more than others' picks of the first have left room for.
  for (const [version, minerIds] of [MINERS.slice(0, 70), MINERS].entries()) {
    for (const minerId of minerIds) {
      const receipt = { leaseId: minerId, minerId, kind: 'forward' as const, microbatch: 0, round: 0, said };
      const tensors = { input, tokens: null, upstream: null, output: null };
      auditor.saw(0, version, { ...receipt, ...tensors }, { cells: [] } as never, () => ({ parameters: data, parameterHash: '' }));
    }
    await auditor.draw(0, version, []);
    const commits = await Promise.all(
      minerIds.map(async (minerId) => ({ minerId, hash: await commitHash([{ leaseId: minerId, ...said }], null) })),
    );
    const rates = minerIds.map((minerId) => (minerId === 'm-0' ? 1 : AUDITS.newcomer));
    const own = await drawnBy(SECRET, { stage: 0, version, epoch: 0, commits, rates });
    const audited = () => made.filter((audit) => audit.version === version).map(({ minerId }) => minerId);
    await expect.poll(() => audited().sort()).toEqual(own.toSorted());
    expect(audited(), 'first is not who delivered first').not.toEqual(own);
  }
  expect(told, 'some of others’ picks are dropped').toContain('AUDITS_BEHIND');
});
