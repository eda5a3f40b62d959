/** What a miner says it computed, made into the evidence of an audit. */
import type { Vector } from '@starling/codecs';
import { sha256Hex } from '@starling/protocol';
import type { Evidence, StageWork } from '../evidence.ts';
import type { Outcome } from '../replay.ts';

export interface Claims {
  outcomes: Outcome[];
  gradient: Vector | null;
}

/** Signed as a miner would: hashes of what it was given and of what it sends. */
export async function evidenceOf(work: StageWork, { outcomes, gradient }: Claims): Promise<Evidence> {
  const leases = await Promise.all(
    work.leases.map(async (lease, i) => {
      const { output, lossSum } = outcomes[i]!;
      const said = { inputHash: await sha256Hex(lease.input), outputHash: output && (await sha256Hex(output)), lossSum };
      return { ...lease, said, output };
    }),
  );
  return { ...work, leases, gradient };
}
