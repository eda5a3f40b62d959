/** Whole merges among virtual members, by seed: what they do wrong, what the network does, and what must hold all the same. */
import { describe, expect, it } from 'vitest';
import { Butterfly } from './butterfly.ts';
import type { CodecName, Vector } from './codec.ts';
import { CODECS } from './codecs.ts';
import type { Draw } from './draw.ts';
import { drawOf, gradientLike } from './for-tests.ts';
import { clipScales } from './reduction.ts';
import { pairsOf } from './shards.ts';
import { type Behaviour, CALM, type NetworkFaults, SOUND, VirtualMerge } from './testing.ts';
import type { ButterflyConfig } from './types.ts';

const GRADIENTS: Behaviour['gradient'][] = ['missing', 'partial', 'not finite', 'cut short', 'too long', 'too large'];
const REDUCES: Behaviour['reduces'][] = ['silently', 'leaves', 'falsely', 'in collusion'];
const ROUGH: NetworkFaults = { lost: 0.01, twice: 0.2, delay: 400 };

function configOf(members: number, codec: CodecName, more: Partial<ButterflyConfig> = {}): ButterflyConfig {
  return {
    ...{ stage: 1, version: 7, parameters: 5 * 4096 + 77, codec, merged: 'f32', clip: 1, spotCheck: 1, excludeLiars: true, redraws: 4 },
    shards: pairsOf(members),
    members: Array.from({ length: members }, (_, i) => ({ id: `m${i}`, tokens: 64 * (1 + (i % 3)) })),
    deadlines: { commit: 2_000, upload: 3_000, reduce: 3_000 },
    ...more,
  };
}

/** The merge of whole vectors in one piece, from the formulas alone: no shards, no pairs, no state machine. */
function reference(config: ButterflyConfig, vectors: Map<string, Vector>, contributors: string[]): Vector {
  const codec = CODECS[config.codec];
  const decoded = contributors.map((id) => codec.decode(codec.encode(vectors.get(id)!), config.parameters));
  const tokens = contributors.map((id) => config.members.find((member) => member.id === id)!.tokens);
  // Norms are added up shard by shard, which rounds otherwise than all at once; scales must have the same bits.
  const { shards } = Butterfly.begin(config, 0).view;
  const norms = decoded.map((vector, i) => {
    const squares = shards.map(({ offset, length }) => vector.subarray(offset, offset + length).reduce((sum, x) => sum + x * x, 0));
    return Math.sqrt(squares.reduce((sum, part) => sum + part, 0)) / tokens[i]!;
  });
  const scales = clipScales(norms, config.clip);
  const merged = CODECS[config.merged];
  const sum = Float32Array.from({ length: config.parameters }, (_, i) =>
    decoded.reduce((total, vector, j) => total + scales[j]! * vector[i]!, 0),
  );
  return merged.decode(merged.encode(sum), config.parameters);
}

function world(config: ButterflyConfig, behaviours: Behaviour[], draw: Draw, faults = CALM): VirtualMerge {
  const vectors = config.members.map(() => gradientLike(draw, config.parameters, 10 ** (draw.below(5) - 2)));
  const merge = new VirtualMerge(config, vectors, behaviours, draw, faults);
  const text = () => JSON.stringify(merge.machine.snapshot());
  // A state's text is as long as the commits, so larger merges are looked at more rarely.
  const share = Math.min(0.05, 10 / (config.members.length * merge.machine.view.shards.length));
  merge.watch = (input) => {
    if (!draw.chance(share)) return;
    // An input delivered again changes nothing, and a state read from its text goes on as if it had never been written.
    const before = text();
    if (input.type !== 'tick' && input.type !== 'restart') {
      merge.machine.handle(input, merge.now);
      expect(text()).toBe(before);
    }
    merge.machine = Butterfly.restore(JSON.parse(before));
  };
  return merge;
}

const of = <T extends VirtualMerge['log'][number]['type']>(merge: VirtualMerge, type: T) =>
  merge.log.filter((effect): effect is Extract<VirtualMerge['log'][number], { type: T }> => effect.type === type);

/** Everything that must hold at the end of every merge where nobody's collusion can go unseen. */
async function check(merge: VirtualMerge, config: ButterflyConfig, behaviours: Behaviour[]): Promise<void> {
  const behaviour = new Map(config.members.map(({ id }, i) => [id, behaviours[i]!]));
  for (const { memberId } of of(merge, 'liar')) expect(['falsely', 'in collusion']).toContain(behaviour.get(memberId)!.reduces);
  const [result] = of(merge, 'merged');
  if (merge.machine.phase === 'failed') {
    // Only where no gradient was left: each is unsound, lost on the way, or a liar's.
    expect(of(merge, 'excluded')).toHaveLength(config.members.length);
    return;
  }
  expect(result!.contributors.length).toBeGreaterThan(0);
  for (const id of result!.contributors) expect(behaviour.get(id)!.gradient).toBe('sound');
  const vectors = new Map(merge.members.map(({ id, vector }) => [id, vector]));
  const expected = reference(config, vectors, result!.contributors);
  for (const member of merge.members) {
    const fetched = await merge.download(member);
    if (Buffer.compare(Buffer.from(fetched.buffer), Buffer.from(expected.buffer)) !== 0) expect.fail(`${member.id} has other bytes`);
  }
  const tokens = config.members.filter(({ id }) => result!.contributors.includes(id)).reduce((sum, member) => sum + member.tokens, 0);
  expect(result!.tokens).toBe(tokens);
  // Whoever is left out is told why, once; whoever is not is in.
  const excluded = of(merge, 'excluded').map(({ memberId }) => memberId);
  expect(new Set(excluded).size).toBe(excluded.length);
  expect([...excluded, ...result!.contributors].toSorted()).toEqual(config.members.map(({ id }) => id).toSorted());
}

const someone = (draw: Draw, wrong: number): Behaviour => ({
  gradient: draw.chance(wrong) ? GRADIENTS[draw.below(GRADIENTS.length)]! : 'sound',
  reduces: draw.chance(wrong) ? REDUCES[draw.below(REDUCES.length)]! : 'soundly',
});

describe.each(['f32', 'int8', 'topk2bit'] as const)('merges with %s', (codec) => {
  it.each([1, 2, 3, 4, 5, 7, 10])('of %i members, thirty of each: drops, repeats, liars, colluders, spoilt gradients', async (members) => {
    for (let seed = 0; seed < 30; seed++) {
      const draw = drawOf(1000 * members + seed);
      const config = configOf(members, codec, {
        excludeLiars: seed % 2 === 0,
        clip: seed % 3 === 0 ? null : 1,
        merged: seed % 4 < 2 ? 'f32' : 'bf16',
        redraws: seed % 5,
        parameters: 3000 + draw.below(20_000),
      });
      const behaviours = config.members.map(() => someone(draw, 0.05 * (seed % 6)));
      const merge = world(config, behaviours, draw, seed % 3 === 1 ? ROUGH : CALM);
      await merge.run();
      await check(merge, config, behaviours);
    }
  });

  it.each([20, 35, 50])('of %i members, three of each', async (members) => {
    for (let seed = 0; seed < 3; seed++) {
      const draw = drawOf(members + 7919 * seed);
      const config = configOf(members, codec, { excludeLiars: seed === 1 });
      const behaviours = config.members.map(() => someone(draw, 0.15));
      const merge = world(config, behaviours, draw, seed === 2 ? ROUGH : CALM);
      await merge.run();
      await check(merge, config, behaviours);
    }
  });
});

describe('a merge', () => {
  it.each([2, 3, 5, 20, 50])('of %i sound members in calm needs nobody but its pairs, and all agree', async (members) => {
    const config = configOf(members, 'int8', { spotCheck: 0 });
    const behaviours = config.members.map(() => SOUND);
    const merge = world(config, behaviours, drawOf(members));
    await merge.run();
    await check(merge, config, behaviours);
    expect(of(merge, 'recompute')).toEqual([]);
    expect(of(merge, 'reduce')).toHaveLength(2 * merge.machine.view.shards.length);
    expect(of(merge, 'excluded')).toEqual([]);
    const { agreement } = merge.machine;
    expect(agreement.reduce((sum, { agreed }) => sum + agreed, 0)).toBe(merge.machine.view.shards.length);
    expect(agreement.every(({ disagreed }) => disagreed === 0)).toBe(true);
  });

  it('is complete when 35 % of the reducers fail, without the orchestrator’s arithmetic', async () => {
    for (let seed = 0; seed < 8; seed++) {
      const draw = drawOf(seed);
      const config = configOf(20, 'int8', { spotCheck: 0 });
      const failing = new Set(draw.order(20).slice(0, 7));
      const behaviours = config.members.map((_, i): Behaviour => ({ ...SOUND, reduces: failing.has(i) ? REDUCES[i % 2]! : 'soundly' }));
      const merge = world(config, behaviours, draw);
      await merge.run();
      await check(merge, config, behaviours);
      expect(merge.machine.phase).toBe('done');
      expect(of(merge, 'recompute')).toEqual([]);
      // What was redrawn is shared evenly, too.
      const { members, shards } = merge.machine.view;
      const loads = members.filter((_, i) => !failing.has(i)).map(({ load }) => load);
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(2 * shards[0]!.length);
    }
  });

  it('names everybody whose false result was compared, and its gradient is out or in as configured', async () => {
    for (const excludeLiars of [true, false]) {
      const config = configOf(9, 'int8', { excludeLiars, spotCheck: 0 });
      const behaviours = config.members.map((_, i): Behaviour => ({ ...SOUND, reduces: i === 3 || i === 6 ? 'falsely' : 'soundly' }));
      const merge = world(config, behaviours, drawOf(9));
      await merge.run();
      await check(merge, config, behaviours);
      expect(new Set(of(merge, 'liar').map(({ memberId }) => memberId))).toEqual(new Set(['m3', 'm6']));
      const [result] = of(merge, 'merged');
      expect(result!.contributors.includes('m3')).toBe(!excludeLiars);
      // Nobody disagrees but with them.
      const disagreed = merge.machine.agreement.filter((counts) => counts.disagreed > 0);
      expect(disagreed.length).toBeGreaterThan(0);
      for (const { pair } of disagreed) expect(pair.some((id) => id === 'm3' || id === 'm6')).toBe(true);
    }
  });

  it('does not see a pair that lies together without a spot check; then exactly their shards are false', async () => {
    let missed = 0;
    for (let seed = 0; seed < 10; seed++) {
      const config = configOf(8, 'int8', { spotCheck: 0 });
      const behaviours = config.members.map((_, i): Behaviour => ({ ...SOUND, reduces: i < 3 ? 'in collusion' : 'soundly' }));
      const merge = world(config, behaviours, drawOf(seed));
      await merge.run();
      expect(of(merge, 'liar')).toEqual([]);
      const [result] = of(merge, 'merged');
      const expected = reference(config, new Map(merge.members.map(({ id, vector }) => [id, vector])), result!.contributors);
      const fetched = await merge.download(merge.members[0]!);
      for (const { offset, length, pair } of merge.machine.view.shards) {
        const differs = fetched.subarray(offset, offset + length).some((x, i) => x !== expected[offset + i]);
        expect(differs).toBe(pair.every((member) => member < 3));
        if (differs) missed += 1;
      }
    }
    // A shard for every pair: three colluders are together in three of 28, in each of ten merges.
    expect(missed).toBe(30);
  });

  it('catches colluders as often as it checks', async () => {
    let caught = 0;
    for (let seed = 0; seed < 60; seed++) {
      const config = configOf(4, 'int8', { spotCheck: 0.25 });
      const behaviours = config.members.map((_, i): Behaviour => ({ ...SOUND, reduces: i < 2 ? 'in collusion' : 'soundly' }));
      const merge = world(config, behaviours, drawOf(seed), CALM);
      await merge.run();
      const liars = of(merge, 'liar').map(({ memberId }) => memberId);
      expect([[], ['m0', 'm1']]).toContainEqual(liars.toSorted());
      if (liars.length > 0) caught += 1;
    }
    // One shard of six is theirs: 15 of 60 expected, σ = 3.4.
    expect(Math.abs(caught - 15)).toBeLessThan(3 * 3.4);
  });
});
