/** Two miners of a stage who give the same false sums wherever a merge has them reduce one shard together. */
import { type ButterflyConfig, pairsOf, seedsOf } from '@starling/reduce';
import { type Behaviour, Draw, SOUND, VirtualMerge } from '@starling/reduce/testing';
import { DEFAULT_OPTIONS } from '@starling/server';

const MEMBERS = 8;
const MERGES = 1_000;
/** Numbers in a shard: a block of int8. */
const SHARD = 256;

function config(): ButterflyConfig {
  const shards = pairsOf(MEMBERS);
  return {
    ...{ stage: 0, version: 0, parameters: SHARD * shards, codec: 'int8', merged: 'f32', shards },
    ...{ clip: null, spotCheck: DEFAULT_OPTIONS.spotCheck, excludeLiars: true, redraws: 3 },
    members: Array.from({ length: MEMBERS }, (_, i) => ({ id: `m${i}`, tokens: 64 })),
    deadlines: { commit: 5_000, upload: 5_000, reduce: 5_000 },
  };
}

/** Shares of the merges in which they could cheat, and of those in which they were named for it; and how many others ever were. */
export async function collusion(): Promise<{ cheated: number; found: number; wronged: number }> {
  let [cheated, found, wronged] = [0, 0, 0];
  for (let merge = 0; merge < MERGES; merge++) {
    const draw = new Draw((await seedsOf(`collusion ${merge}`, '')).seed);
    const merging = config();
    const behaviours = merging.members.map((_, i): Behaviour => ({ ...SOUND, reduces: i < 2 ? 'in collusion' : 'soundly' }));
    const vectors = merging.members.map(() => Float32Array.from({ length: merging.parameters }, () => draw.word() / 2 ** 31 - 1));
    const world = new VirtualMerge(merging, vectors, behaviours, draw);
    await world.run();
    const liars = new Set(world.log.flatMap((effect) => (effect.type === 'liar' ? [effect.memberId] : [])));
    const together = world.machine.view.shards.some(({ pair }) => pair.every((member) => member < 2));
    if (together || liars.size > 0) cheated += 1;
    if (liars.has('m0') && liars.has('m1')) found += 1;
    for (const id of liars) if (id !== 'm0' && id !== 'm1') wronged += 1;
  }
  return { cheated: cheated / MERGES, found: found / Math.max(1, cheated), wronged };
}
