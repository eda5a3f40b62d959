/** Audits in a thread. */
import { afterAll, expect, it } from 'vitest';
import { LIMITS, RUN, rehearsalOf } from './for-tests.ts';
import { ReplayThread } from './node.ts';
import { evidenceOf } from './zoo/index.ts';

const thread = new ReplayThread('wasm');
afterAll(() => thread.close());

it('gives verdicts, errors that name their cause, and goes on', async () => {
  const [first] = await rehearsalOf((run, work) => thread.replay(run, work)).step();
  const evidence = await evidenceOf(first!, await thread.replay(RUN, first!));
  expect(await thread.audit(RUN, evidence, LIMITS)).toMatchObject({ outcome: 'passed' });
  await expect(thread.replay(RUN, { ...first!, stage: 7 })).rejects.toMatchObject({ code: 'TENSOR_SHAPE' });
  evidence.gradient = evidence.gradient!.map((x) => -x);
  expect(await thread.audit(RUN, evidence, LIMITS)).toMatchObject({ outcome: 'failed' });
});

it('refuses what comes after its end', async () => {
  const short = new ReplayThread('wasm');
  await short.close();
  await expect(short.replay(RUN, { stage: 0, parameters: new Float32Array(1), parameterHash: '', leases: [] })).rejects.toMatchObject({
    code: 'BACKEND_FAILED',
  });
});
