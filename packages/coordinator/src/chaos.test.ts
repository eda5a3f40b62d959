/** Random inputs, most of them right and many of them wrong: what must hold whatever happens. */
import { describe, expect, it } from 'vitest';
import { calm, disturb } from './chaos.ts';
import { Dice, of, Swarm, uploadOf } from './for-tests.ts';
import type { Effect, Input } from './types.ts';

/** A run of its own shape per seed. */
function swarmOf(seed: number): { swarm: Swarm; dice: Dice; mood: { miners: number; wrong: number } } {
  const dice = new Dice(seed);
  const stages = 1 + dice.below(4);
  const swarm = new Swarm({
    stages,
    // Now and then more than the miners of a stage can keep.
    microbatchesPerStep: 2 + dice.below(dice.chance(0.15) ? 50 : 7),
    minMicrobatches: 1 + dice.below(2),
    validationMicrobatches: dice.below(3),
    validateEvery: 2,
    overlap: seed % 4 === 0,
  });
  for (let i = 0; i < stages + dice.below(3); i++) swarm.join(`m${i}`);
  return { swarm, dice, mood: { miners: 3 + 2 * stages, wrong: dice.pick([0.02, 0.08, 0.25])! } };
}

/** Books of what was granted, settled and merged, kept beside the coordinator's own. */
function audit(swarm: Swarm): string[] {
  const problems: string[] = [];
  const settled = new Set<string>();
  const counted = new Map<string, number>();
  const surplus = new Map<string, number>();
  const merged = new Map<string, string>();
  let closed = swarm.coordinator.config.version;
  const add = (counts: Map<string, number>, id: string) => counts.set(id, (counts.get(id) ?? 0) + 1);
  const { microbatchesPerStep: size, minMicrobatches, tokensPerMicrobatch } = swarm.coordinator.config;
  const look = (input: Input, effect: Effect): string | null => {
    switch (effect.type) {
      case 'settled': {
        const again = settled.has(effect.leaseId);
        settled.add(effect.leaseId);
        add(effect.outcome === 'counted' ? counted : surplus, effect.minerId);
        if (again) return `${effect.leaseId} was settled twice`;
        return input.type === 'receipt' ? null : `${effect.leaseId} was settled without a receipt`;
      }
      case 'draw': {
        const [begun] = swarm.begun([effect]);
        const { contributions, tokens } = begun!;
        const all = contributions.flatMap(({ microbatches }) => microbatches);
        if (new Set(all).size !== all.length) return `a microbatch counts twice: ${all}`;
        if (all.length < minMicrobatches) return `a stage merges ${all.length} microbatches`;
        if (all.some((microbatch) => Math.floor(microbatch / size) !== effect.version))
          return `${all} are not all of step ${effect.version}`;
        if (tokens !== all.length * tokensPerMicrobatch) return `${tokens} tokens for ${all.length} microbatches`;
        const key = `${effect.stage}@${effect.version}`;
        const text = JSON.stringify(contributions);
        if (merged.has(key) && merged.get(key) !== text) return `${key} was to be merged of other gradients before`;
        merged.set(key, text);
        return null;
      }
      case 'sum': {
        const all = swarm.reductions.get(effect.stage)!;
        const enough = effect.tokens >= minMicrobatches * tokensPerMicrobatch;
        return enough && effect.tokens <= all.tokens ? null : `${effect.tokens} of ${all.tokens} tokens are merged`;
      }
      case 'event':
        // Whoever lied is left out, and others may do its work again.
        if (effect.code === 'REDUCTION_FALSE') merged.clear();
        return null;
      case 'closed':
        closed += 1;
        return effect.step === closed - 1 ? null : `step ${effect.step} closed as the ${closed}th`;
      case 'refuse':
        // Whoever hands in exactly what was counted is never told that it is something else.
        return effect.code === 'CONTRIBUTION_MISMATCH' &&
          input.type === 'contribution' &&
          input.hashes[0] !== uploadOf('wrong', 0, 2).hashes[0]
          ? `an honest gradient was refused: ${effect.message}`
          : null;
      default:
        return null;
    }
  };
  swarm.watchers.push((input, effects) => {
    for (const effect of effects) {
      const problem = look(input, effect);
      if (problem) problems.push(`After ${JSON.stringify(input)}: ${problem}`);
    }
    if (!('minerId' in input)) return;
    const credit = swarm.coordinator.credit(input.minerId);
    const [receipts, extra] = [counted.get(input.minerId) ?? 0, surplus.get(input.minerId) ?? 0];
    if ((credit?.receipts ?? 0) !== receipts || (credit?.surplus ?? 0) !== extra)
      problems.push(`${input.minerId} has credit ${JSON.stringify(credit)} for ${receipts} receipts and ${extra} surplus`);
  });
  return problems;
}

describe('whatever miners and the world do', () => {
  it('every invariant holds after every input, every book agrees, and the run comes to its end and to rest when it is over', () => {
    const totals = { steps: 0, hedged: 0, redone: 0, bans: 0, abandoned: 0, moved: 0 };
    for (let seed = 1; seed <= 260; seed++) {
      const { swarm, dice, mood } = swarmOf(seed);
      const problems = audit(swarm);
      try {
        for (let i = 0; i < 700; i++) disturb(swarm, dice, mood);
        calm(swarm, 2);
      } catch (error) {
        problems.push((error as Error).message);
      }
      expect(problems, `seed ${seed}`).toEqual([]);
      for (const key of ['hedged', 'redone', 'bans', 'abandoned', 'moved'] as const) totals[key] += swarm.counters[key];
      totals.steps += of(swarm.log, 'closed').length;
    }
    // All of it was met, and often.
    for (const total of Object.values(totals)) expect(total).toBeGreaterThan(3);
    expect(totals.steps).toBeGreaterThan(500);
  });

  it('quick strangers have the last word on next to nothing, nobody else is banned for it, and no run stands still', () => {
    let forfeits = 0;
    for (let seed = 2_001; seed <= 2_006; seed++) {
      const dice = new Dice(seed);
      const swarm = new Swarm({ stages: 2, microbatchesPerStep: 12, overlap: seed % 2 === 0 });
      const strangers = [0, 1, 2, 3, 4, 5].map((i) => `s${i}`);
      for (const id of dice.chance(0.5) ? [...strangers, ...'abcdef'] : [...'abcdef', ...strangers]) swarm.join(id);
      const isSlow = (id: string) => !strangers.includes(id);
      // Those at the first stage work, or the text alone would tell that they do not.
      const spoils = (id: string) => !isSlow(id) && swarm.coordinator.miner(id)!.stage === 1;
      for (let step = 0; step < 400; step++) {
        for (const [id, { assigned, merge, leases }] of swarm.hands) {
          if (isSlow(id) && !dice.chance(0.2)) continue;
          if (assigned) swarm.load(id);
          if (merge) swarm.apply(id);
          const [lease] = leases.values();
          if (lease && spoils(id)) forfeits += swarm.forfeit(id, lease.id).length > 0 ? 1 : 0;
          else if (lease) swarm.receipt(id, lease.id);
        }
        swarm.contributeAll();
        for (const stage of swarm.reductions.keys()) {
          swarm.reduceAll(stage);
          if (swarm.sums.has(stage)) swarm.merge(stage);
        }
        for (const apply of swarm.applies.values()) swarm.applied(apply);
        swarm.tick(100);
      }
      expect(of(swarm.log, 'closed').length, `seed ${seed}`).toBeGreaterThan(5);
      expect(swarm.counters.abandoned, `seed ${seed}`).toBeLessThanOrEqual(strangers.length / 2);
      const banned = of(swarm.log, 'event').filter(({ code }) => code === 'MINER_BANNED');
      expect(
        banned.filter(({ message }) => !/^Miner s/.test(message)),
        `seed ${seed}`,
      ).toEqual([]);
    }
    expect(forfeits).toBeGreaterThan(60);
  });

  it('an input that is delivered twice changes nothing', () => {
    const seen = new Map<Input['type'], number>();
    for (let seed = 1_001; seed <= 1_100; seed++) {
      const { swarm, dice, mood } = swarmOf(seed);
      const { coordinator } = swarm;
      const text = () => JSON.stringify(coordinator.snapshot()).replaceAll(/"rejected":\d+/g, '');
      let repeating = false;
      swarm.watchers.push((input) => {
        // A second hello asks for everything anew, by design.
        if (repeating || input.type === 'join' || !dice.chance(0.3)) return;
        repeating = true;
        const before = text();
        swarm.send(input);
        expect(text(), `seed ${seed}: ${JSON.stringify(input)}`).toBe(before);
        seen.set(input.type, (seen.get(input.type) ?? 0) + 1);
        repeating = false;
      });
      for (let i = 0; i < 400; i++) disturb(swarm, dice, mood);
    }
    const types: Input['type'][] = [
      'disconnect',
      'leave',
      'ready',
      'receipt',
      'forfeit',
      'busy',
      'contribution',
      'spoiled',
      'seed',
      'result',
      'recomputed',
      'summed',
      'merged',
      'applied',
    ];
    for (const type of [...types, 'configure', 'restart', 'tick'] as const) expect([type, seen.get(type) ?? 0]).not.toEqual([type, 0]);
  });
});
