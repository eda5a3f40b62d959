/** Miners that missed merges, or hold other parameters than they should. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { type Hands, hashOf, of, refusal, Swarm } from './for-tests.ts';

const { mergesKept } = LIMITS;
/** One stage, where a does all the work and b follows the merges only when a test says so. */
const behind = (steps: number) => {
  const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 });
  const b = { ...swarm.miner('b') };
  for (let version = 1; version <= steps; version++) {
    swarm.compute((id) => id === 'a');
    swarm.contribute('a');
    swarm.merge(0);
    swarm.apply('a');
  }
  return { swarm, b };
};

/** It was told what to load, and the stage has made two steps meanwhile. */
function joinedLately(swarm: Swarm, id: string): Hands {
  swarm.join(id);
  const hands = swarm.hands.get(id)!;
  swarm.hands.delete(id);
  swarm.reach(2);
  swarm.hands.set(id, hands);
  return hands;
}

describe('a miner that missed merges', () => {
  it('applies them one after the other, and takes leases when it has caught up', () => {
    const { swarm } = behind(3);
    expect(of(swarm.log, 'distribute').filter(({ minerId }) => minerId === 'b')).toMatchObject([{ merge: { version: 1 } }]);
    expect(of(swarm.apply('b'), 'distribute')).toMatchObject([{ minerId: 'b', merge: { version: 2 } }]);
    expect(of(swarm.apply('b'), 'distribute')).toMatchObject([{ minerId: 'b', merge: { version: 3 } }]);
    expect(swarm.miner('b')).toMatchObject({ phase: 'applying', version: 2 });
    expect(of(swarm.apply('b'), 'distribute')).toEqual([]);
    expect(swarm.miner('b')).toMatchObject({ phase: 'ready', version: 3 });
  });

  it('has the time of one merge for each of them', () => {
    const { swarm } = behind(3);
    for (let i = 0; i < 3; i++) {
      swarm.tick(LIMITS.phaseDeadline - 1);
      swarm.apply('b');
    }
    expect(swarm.miner('b')).toMatchObject({ phase: 'ready', version: 3 });
  });

  it('catches up over as many as are kept', () => {
    const { swarm } = behind(mergesKept);
    for (let i = 0; i < mergesKept; i++) swarm.apply('b');
    expect(swarm.miner('b')).toMatchObject({ phase: 'ready', version: mergesKept });
    expect(swarm.counters.resynchronised).toBe(0);
  });

  it('fetches its stage when it missed one more', () => {
    const { swarm } = behind(mergesKept + 2);
    // It was told of the first merge at the time; the second is not kept any more.
    const effects = swarm.apply('b');
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'b', version: mergesKept + 2, why: 'it fell too many steps behind' }]);
    swarm.load('b');
    expect(swarm.miner('b')).toMatchObject({ phase: 'ready', version: mergesKept + 2 });
  });

  it('loads the version it was assigned and applies what came since', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 1 });
    const { assigned } = joinedLately(swarm, 'b');
    expect(assigned).toMatchObject({ version: 0 });
    const effects = swarm.load('b');
    expect(of(effects, 'distribute')).toMatchObject([{ minerId: 'b', merge: { version: 1 } }]);
    swarm.apply('b');
    swarm.apply('b');
    expect(swarm.miner('b')).toMatchObject({ phase: 'ready', version: 2 });
  });

  it('is found out by the first merge if what it began with is too old to be compared', () => {
    const swarm = Swarm.ready(['a'], { stages: 1, microbatchesPerStep: 1 });
    joinedLately(swarm, 'b');
    expect(refusal(swarm.load('b', 'a lie'))).toBeUndefined();
    expect(refusal(swarm.apply('b', 'what the merge makes of it'))).toBe('PARAMETERS_DIVERGED');
  });

  it('cannot skip one, apply one twice, or apply one of another stage', () => {
    const { swarm } = behind(3);
    const applied = (version: number, stage = 0) =>
      swarm.send({ type: 'applied', minerId: 'b', stage, version, parameterHash: hashOf(0, version) });
    expect([applied(2), applied(0), applied(1, 1)]).toEqual([[], [], []]);
    expect(swarm.miner('b').version).toBe(0);
    applied(1);
    expect(applied(1)).toEqual([]);
    expect(swarm.miner('b').version).toBe(1);
    expect(refusal(swarm.send({ type: 'applied', minerId: 'x', stage: 0, version: 1, parameterHash: '' }))).toBe('NOT_JOINED');
  });

  it('whose parameters differ after a merge fetches the stage, and what it did before is not lost', () => {
    const { swarm } = behind(1);
    const effects = swarm.apply('b', 'bits that fell over');
    expect(refusal(effects)).toBe('PARAMETERS_DIVERGED');
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'b', version: 1 }]);
    swarm.reach(2);
  });

  it('and holds parameters of a step that was never finished fetches them, blamed by nobody', () => {
    const swarm = Swarm.ready(['a'], { stages: 1 });
    swarm.join('b');
    const { round } = swarm.miner('b');
    const effects = swarm.send({ type: 'ready', minerId: 'b', stage: 0, round, version: 1, parameterHash: 'of a killed server' });
    expect(of(effects, 'assign')).toMatchObject([{ minerId: 'b', version: 0 }]);
    expect([refusal(effects), swarm.miner('b').late]).toEqual([undefined, 0]);
  });
});
