import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { Crew } from './crew.ts';
import { Dice, facts } from './for-tests.ts';
import { type MinerRecord, newMiner } from './miner.ts';
import { fillEmpty, placeNewcomer, rebalance, relieve, throughput, typicalPace } from './policy.ts';
import { newStage, type StageRecord } from './stage.ts';
import { addTime } from './times.ts';

let order = 0;
/** Of known speed, by its pace in ms per unit; of unknown speed with `null`. */
function aMiner(pace: number | null, over: Partial<MinerRecord> = {}): MinerRecord {
  const known = pace === null ? {} : { pace, samples: LIMITS.rebalanceSamples };
  return { ...newMiner(`m${order}`, order++, facts, 0, 0), phase: 'ready', version: 0, ...known, ...over };
}

/** One crew per list of paces, from the first stage to the last. */
function crewsOf(...paces: (number | null | MinerRecord)[][]): Crew[] {
  return paces.map((list, index) => {
    const crew = new Crew(newStage(index, paces.length, 0, 'p', 0));
    for (const pace of list) {
      const miner = typeof pace === 'object' && pace !== null ? pace : aMiner(pace);
      miner.stage = index;
      crew.add(miner);
    }
    return crew;
  });
}
/** The stage's backward takes so many of its forwards. */
function weigh(stage: StageRecord, ratio: number): void {
  for (let i = 0; i < 8; i++) {
    addTime(stage.work.forward, 100);
    addTime(stage.work.backward, 100 * ratio);
  }
}
const stageOf = (move: { to: Crew } | null) => move?.to.stage.index;

describe('throughput', () => {
  it('is the microbatches a second of all miners together: a forward and a backward each', () => {
    const [first] = crewsOf([100, 200], [100]);
    const units = 1 + LIMITS.backwardUnits;
    expect(throughput(first!, 0)).toBeCloseTo(1_000 / (100 * units) + 1_000 / (200 * units), 9);
  });

  it('of the last stage is higher with the same miners, since it has no forward of its own', () => {
    const [first, last] = crewsOf([100], [100]);
    expect(throughput(last!, 0)).toBeCloseTo(1_000 / (100 * LIMITS.backwardUnits), 9);
    expect(throughput(last!, 0)).toBeGreaterThan(throughput(first!, 0));
  });

  it('takes what the stage has shown of its backwards', () => {
    const [first] = crewsOf([100], [100]);
    weigh(first!.stage, 4);
    expect(throughput(first!, 0)).toBeCloseTo(1_000 / (100 * 5), 9);
  });

  it('takes a miner that has shown nothing for a typical one', () => {
    const crews = crewsOf([100, null], [300, 700]);
    expect(typicalPace(crews)).toBe(300);
    expect(throughput(crews[0]!, 300)).toBeCloseTo(1_000 / 350 + 1_000 / (3.5 * 300), 9);
    expect(typicalPace(crewsOf([null], []))).toBe(LIMITS.unknownPace);
  });
});

describe('a newcomer', () => {
  it('goes to the stage with the least throughput, not to the one with the fewest miners', () => {
    expect(placeNewcomer(crewsOf([1_000, 1_000, 1_000], [100])).stage.index).toBe(0);
    expect(placeNewcomer(crewsOf([100], [1_000, 1_000, 1_000])).stage.index).toBe(1);
  });

  it('goes to an empty stage before any other', () => {
    expect(placeNewcomer(crewsOf([1_000_000], [], [5])).stage.index).toBe(1);
  });

  it('goes to the lowest of equal stages', () => {
    expect(placeNewcomer(crewsOf([], [], [])).stage.index).toBe(0);
    expect(placeNewcomer(crewsOf([null], [], [])).stage.index).toBe(1);
  });

  it('goes, of stages with as many unknown miners, to one that has more work for each', () => {
    expect(placeNewcomer(crewsOf([null], [null])).stage.index).toBe(0);
  });

  it('goes to the last stage when that is the heavy one: its miners are slower there', () => {
    expect(placeNewcomer(crewsOf([100], [100], [180])).stage.index).toBe(2);
  });
});

describe('an empty stage', () => {
  const idle = () => 0;

  it('gets the miner that loses least, from the stage that has most', () => {
    const crews = crewsOf([null, null, null], [], [null, null]);
    const [a, b, c] = [...crews[0]!.members.values()];
    const burden = new Map([
      [a!, 3],
      [b!, 1],
      [c!, 2],
    ]);
    const move = fillEmpty(crews, (miner) => burden.get(miner) ?? 0);
    expect([move!.miner, stageOf(move)]).toEqual([b, 1]);
  });

  it('gets nobody from a stage that has only one, whoever is away counted out', () => {
    expect(fillEmpty(crewsOf([null], [], [null]), idle)).toBeNull();
    expect(fillEmpty(crewsOf([null, aMiner(null, { connected: false })], []), idle)).toBeNull();
    expect(fillEmpty(crewsOf([], []), idle)).toBeNull();
  });

  it('gets one that can begin at once before one that is banned or at rest', () => {
    const [banned, working] = [aMiner(null, { resting: true }), aMiner(null)];
    const burden = (miner: MinerRecord) => (miner === working ? 5 : 0);
    expect(fillEmpty(crewsOf([banned, working], []), burden)?.miner).toBe(working);
    expect(fillEmpty(crewsOf([banned, aMiner(null, { resting: true })], []), burden)?.miner).toBe(banned);
  });

  it('gets no banned one while another waits there for the end of a ban, nor anybody from a stage of such', () => {
    const owed = () => aMiner(null, { resting: true, owed: 'joined' });
    const banned = () => aMiner(null, { resting: true });
    expect(fillEmpty(crewsOf([banned(), banned()], [owed()]), idle)).toBeNull();
    expect(stageOf(fillEmpty(crewsOf([banned(), banned()], [owed()], []), idle))).toBe(2);
    expect(stageOf(fillEmpty(crewsOf([banned(), null], [owed()], []), idle))).toBe(1);
    expect(fillEmpty(crewsOf([owed(), owed(), owed()], []), idle)).toBeNull();
    expect(fillEmpty(crewsOf([owed(), null], []), idle)).toBeNull();
  });

  it('gets nobody when it has finished the run', () => {
    const crews = crewsOf([null, null], []);
    crews[1]!.stage.phase = 'complete';
    expect(fillEmpty(crews, idle)).toBeNull();
  });

  it('is not one whose miners are away or loading: they may come back', () => {
    expect(fillEmpty(crewsOf([null, null], [aMiner(null, { connected: false })]), idle)).toBeNull();
    expect(fillEmpty(crewsOf([null, null], [aMiner(null, { phase: 'loading' })]), idle)).toBeNull();
  });
});

describe('a stage where nobody works', () => {
  const now = LIMITS.phaseDeadline;
  const since = (crews: readonly Crew[], ...attendedAt: number[]) =>
    attendedAt.forEach((at, index) => {
      crews[index]!.stage.attendedAt = at;
    });

  it('gets one from where somebody does, however many it has', () => {
    const crews = crewsOf([null, null, null], [null, null]);
    since(crews, 0, now);
    expect(crews[1]!.members.has(relieve(crews, () => 0, now)!.miner.id)).toBe(true);
    since(crews, 1, now);
    expect(relieve(crews, () => 0, now)).toBeNull();
    since(crews, 0, 0);
    expect(relieve(crews, () => 0, now)).toBeNull();
  });

  it('waits twice as long while somebody there has a lease', () => {
    const crews = crewsOf([aMiner(null, { leases: new Set(['t-1']) })], [null, null]);
    const later = LIMITS.phaseDeadline + LIMITS.maximumDeadline;
    since(crews, 0, later);
    expect(relieve(crews, () => 0, later - 1)).toBeNull();
    expect(stageOf(relieve(crews, () => 0, later))).toBe(0);
  });
});

describe('a move between stages', () => {
  it('takes a miner to the slowest stage', () => {
    const crews = crewsOf([100, 100, 100], [100], [100, 100, 100]);
    const move = rebalance(crews)!;
    expect(stageOf(move)).toBe(1);
    // The last stage has less work per microbatch, so it can spare one more easily.
    expect(crews[2]!.members.has(move.miner.id)).toBe(true);
  });

  it('is made just under the threshold of what it would gain, and not just over', () => {
    // Two stages with the same work, and a fast last one that can spare nobody. A miner of pace 100 is a typical one,
    // and so it doubles what the slow stage does, while its own keeps half.
    const rate = (pace: number) => 1_000 / ((1 + LIMITS.backwardUnits) * pace);
    const edge = 100 / LIMITS.rebalanceGain;
    for (const [slow, moves] of [
      [edge * 1.001, true],
      [edge * 0.999, false],
    ] as const) {
      const ratio = rate(slow) / Math.min(rate(100), 2 * rate(slow));
      expect(ratio < LIMITS.rebalanceGain).toBe(moves);
      expect(stageOf(rebalance(crewsOf([100, 100], [slow], [1])))).toBe(moves ? 1 : undefined);
    }
  });

  it('does not go back and forth: after it the other way is not worth it', () => {
    const dice = new Dice(5);
    let moves = 0;
    for (let i = 0; i < 400; i++) {
      const crews = crewsOf(
        ...Array.from({ length: 2 + dice.below(3) }, () => Array.from({ length: 1 + dice.below(4) }, () => 50 + dice.below(500))),
      );
      const move = rebalance(crews);
      if (!move) continue;
      moves += 1;
      const from = crews.find((crew) => crew.members.has(move.miner.id))!;
      const slowest = Math.min(...crews.map((crew) => throughput(crew, 0)));
      // Its speed over there is the same multiple of what is usual over there.
      const pace = (move.miner.pace / typicalPace([from])) * typicalPace([move.to]);
      from.remove(move.miner);
      move.to.add(Object.assign(move.miner, { pace, stage: move.to.stage.index }));
      expect(from.size).toBeGreaterThan(0);
      expect(slowest / Math.min(...crews.map((crew) => throughput(crew, 0)))).toBeLessThan(LIMITS.rebalanceGain);
      expect(rebalance(crews)?.miner).not.toBe(move.miner);
    }
    expect(moves).toBeGreaterThan(50);
  });

  it('never empties a stage', () => {
    expect(rebalance(crewsOf([1], [10_000]))).toBeNull();
    expect(rebalance(crewsOf([1, aMiner(1, { connected: false })], [10_000]))).toBeNull();
    expect(stageOf(rebalance(crewsOf([1, 1], [10_000])))).toBe(1);
  });

  it('is of nobody whose speed is not known well enough, and to no stage where none is', () => {
    const green = () => aMiner(100, { samples: LIMITS.rebalanceSamples - 1 });
    expect(rebalance(crewsOf([green(), green(), green()], [400]))).toBeNull();
    expect(rebalance(crewsOf([100, 100, 100], [green()]))).toBeNull();
    expect(rebalance(crewsOf([100, 100, 100], []))).toBeNull();
    const known = aMiner(100);
    expect(rebalance(crewsOf([green(), known, green()], [400]))?.miner).toBe(known);
  });

  it('is of nobody who is away', () => {
    const away = aMiner(100, { connected: false });
    const here = aMiner(100);
    expect(rebalance(crewsOf([away, here, aMiner(null)], [1_000]))?.miner).toBe(here);
  });

  it('is none when the slowest stage has finished', () => {
    const crews = crewsOf([100, 100, 100], [400]);
    crews[1]!.stage.phase = 'complete';
    expect(rebalance(crews)).toBeNull();
  });

  it('sees that a heavy last stage is the slowest, by what its miners have shown there', () => {
    expect(stageOf(rebalance(crewsOf([100, 100, 100], [100, 100, 100], [600])))).toBe(2);
    // As slow per microbatch as the others: 3.5 units of 100 are 2.5 of 140.
    expect(rebalance(crewsOf([100, 100], [100, 100], [140, 140]))).toBeNull();
  });

  it('takes the one whose move leaves both stages best off, not simply the fastest', () => {
    // If the only fast one goes, its own stage becomes the slowest.
    const [fast, slow] = [aMiner(20), aMiner(300)];
    const crews = crewsOf([fast, slow], [100], [1, 1]);
    const move = rebalance(crews);
    expect(move === null || move.miner !== fast).toBe(true);
  });
});
