/** Evidence on its way to a validator elsewhere: all of it arrives, to the bit, and nothing that was damaged is taken. */
import { beforeAll, expect, it } from 'vitest';
import type { Evidence } from './evidence.ts';
import { decodeEvidence, encodeEvidence } from './evidence-blob.ts';
import { RUN, rehearsalOf, replayerOn } from './for-tests.ts';
import { evidenceOf } from './zoo/index.ts';

let evidence: Evidence[];
beforeAll(async () => {
  const replayer = await replayerOn('cpu');
  const rehearsal = rehearsalOf((_, work) => replayer.replay(work));
  evidence = [];
  for (const work of await rehearsal.step()) evidence.push(await evidenceOf(work, await replayer.replay(work)));
  expect(RUN.stages).toHaveLength(evidence.length);
});

it('of every stage comes out as it went in', async () => {
  for (const { parameters: _, ...portable } of evidence) {
    const { leases, ...rest } = await decodeEvidence(await encodeEvidence(portable));
    expect(rest).toEqual({ stage: portable.stage, parameterHash: portable.parameterHash, gradient: portable.gradient });
    expect(leases).toEqual(
      portable.leases.map(({ leaseId, kind, microbatch, input, tokens, upstream, inSum, said, output }) => ({
        leaseId,
        kind,
        microbatch,
        input,
        tokens,
        upstream,
        inSum,
        said,
        output,
      })),
    );
  }
});

it('without a gradient has none', async () => {
  expect((await decodeEvidence(await encodeEvidence({ ...evidence[0]!, gradient: null }))).gradient).toBeNull();
});

it('that was damaged or cut short is refused', async () => {
  const bytes = await encodeEvidence(evidence[0]!);
  await expect(decodeEvidence(bytes.subarray(0, 3))).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
  await expect(decodeEvidence(bytes.subarray(0, 40))).rejects.toMatchObject({ code: 'BAD_MESSAGE' });
  await expect(decodeEvidence(bytes.subarray(0, bytes.length - 4))).rejects.toMatchObject({ code: 'FRAME_MALFORMED' });
  bytes[bytes.length - 1]! ^= 1;
  await expect(decodeEvidence(bytes)).rejects.toMatchObject({ code: 'FRAME_HASH_MISMATCH' });
});
