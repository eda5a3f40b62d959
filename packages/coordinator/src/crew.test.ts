import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { Crew, type Place } from './crew.ts';
import type { Slot } from './flow.ts';
import { Dice, facts } from './for-tests.ts';
import { allowance, type MinerRecord, newMiner } from './miner.ts';
import { newStage, type StageRecord, unitsOf } from './stage.ts';
import { addTime } from './times.ts';

const NOW = 10_000;
const { keptInputs } = LIMITS;

/** Stage 0 of two, at version 0. */
const aStage = () => newStage(0, 2, 0, 'p', 0);
let order = 0;
const aMiner = (over: Partial<MinerRecord> = {}): MinerRecord => ({
  ...newMiner(`m${order}`, order++, facts, 0, 0),
  phase: 'ready',
  version: 0,
  pace: 100,
  queueEnd: NOW,
  ...over,
});
const leases = (n: number) => new Set(Array.from({ length: n }, (_, i) => `l${i}`));

function crewOf(members: readonly MinerRecord[], stage: StageRecord = aStage()): Crew {
  const crew = new Crew(stage);
  for (const miner of members) crew.add(miner);
  return crew;
}

/** What puts a miner into each place. */
const PLACES: Record<Place, Partial<MinerRecord>> = {
  idle: {},
  half: { leases: leases(1) },
  full: { kept: keptInputs },
  taken: { leases: leases(2) },
  banned: { resting: true, bannedUntil: NOW + 1 },
  owed: { owed: 'why', resting: true, bannedUntil: NOW + 1 },
  absent: { absent: true, resting: true, restUntil: NOW + 1 },
  out: { connected: false },
};
const names = Object.keys(PLACES) as Place[];
const untouched = (): Partial<MinerRecord> => ({
  leases: leases(0),
  kept: 0,
  owed: null,
  resting: false,
  absent: false,
  bannedUntil: 0,
  restUntil: 0,
  connected: true,
});

describe('the place of a miner', () => {
  it.each([
    ['idle', {}],
    ['half', { leases: leases(1), kept: keptInputs - 1 }],
    ['full', { kept: keptInputs }],
    ['full', { leases: leases(1), kept: keptInputs + 1 }],
    ['taken', { leases: leases(2) }],
    ['taken', { leases: leases(2), kept: keptInputs }],
    ['taken', { leases: leases(1), late: LIMITS.lateBeforeShorterQueue }],
    ['idle', { late: LIMITS.lateBeforeShorterQueue }],
    ['banned', { resting: true, bannedUntil: NOW }],
    ['banned', { resting: true, bannedUntil: NOW, leases: leases(1) }],
    ['out', { resting: true, restUntil: NOW }],
    ['out', { resting: true, restUntil: NOW, bannedUntil: NOW + 1 }],
    ['out', { connected: false }],
    ['out', { phase: 'loading' }],
    ['out', { phase: 'applying' }],
    ['out', { version: 1 }],
    ['out', { connected: false, resting: true, bannedUntil: NOW }],
  ] satisfies [Place, Partial<MinerRecord>][])('is %s with %o', (place, over) => {
    const miner = aMiner(over);
    expect(crewOf([miner]).placeOf(miner)).toBe(place);
  });

  it('changes from any to any other, and the number of the fit with it', () => {
    const steady = aMiner();
    for (const before of names) {
      for (const after of names) {
        const miner = aMiner(PLACES[before]);
        const crew = crewOf([miner, steady]);
        Object.assign(miner, untouched(), PLACES[after]);
        crew.place(miner);
        expect([before, crew.placeOf(miner)]).toEqual([before, after]);
        expect([before, after, crew.fit]).toEqual([before, after, ['banned', 'owed', 'absent', 'out'].includes(after) ? 1 : 2]);
        crew.remove(miner);
        expect([crew.fit, crew.size, crew.placeOf(miner)]).toEqual([1, 1, 'out']);
        expect(crew.pick('backward', NOW)).toBe(steady);
      }
    }
  });

  it('does not change by itself: whoever changes a miner must say so', () => {
    const miner = aMiner();
    const crew = crewOf([miner]);
    miner.connected = false;
    expect([crew.placeOf(miner), crew.wherePlaced(miner)]).toEqual(['idle', 'out']);
  });
});

describe('who is picked', () => {
  it('is the fastest of those with nothing to do', () => {
    const [slow, fast] = [aMiner({ pace: 200 }), aMiner({ pace: 50 })];
    expect(crewOf([slow, fast]).pick('forward', NOW)).toBe(fast);
  });

  it('is a slow idle miner before a fast one whose queue takes longer, and not before one whose queue is short', () => {
    const slow = aMiner({ pace: 1_000 });
    const fast = aMiner({ pace: 10, leases: leases(1), queueEnd: NOW + 2_000 });
    const crew = crewOf([slow, fast]);
    expect(crew.pick('forward', NOW)).toBe(slow);
    fast.queueEnd = NOW + 500;
    crew.place(fast);
    expect(crew.pick('forward', NOW)).toBe(fast);
  });

  it('is for a backward whoever is fast enough to make up for its queue: a backward is more work', () => {
    const slow = aMiner({ pace: 100 });
    const fast = aMiner({ pace: 40, leases: leases(1), queueEnd: NOW + 100 });
    const crew = crewOf([slow, fast]);
    expect(crew.pick('forward', NOW)).toBe(slow); // 100 or 100 + 40
    expect(crew.pick('backward', NOW)).toBe(fast); // 250 or 100 + 100
  });

  it('takes as long for a backward as the stage has shown', () => {
    const stage = aStage();
    for (let i = 0; i < 8; i++) {
      addTime(stage.work.forward, 100);
      addTime(stage.work.backward, 110);
    }
    const crew = crewOf([aMiner({ pace: 100 }), aMiner({ pace: 40, leases: leases(1), queueEnd: NOW + 100 })], stage);
    expect(crew.pick('backward', NOW)!.pace).toBe(100); // 110 or 100 + 44
  });

  it('is for a forward nobody who keeps as many inputs as it may, and for a backward anybody', () => {
    const full = aMiner({ pace: 1, kept: keptInputs });
    const crew = crewOf([full]);
    expect(crew.pick('forward', NOW)).toBeNull();
    expect(crew.pick('backward', NOW)).toBe(full);
    const idle = aMiner({ pace: 1_000 });
    crew.add(idle);
    expect(crew.pick('forward', NOW)).toBe(idle);
    expect(crew.pick('backward', NOW)).toBe(full);
  });

  it('is nobody while all who are fit have all the leases they may: one of them will be free soon', () => {
    const crew = crewOf([aMiner({ leases: leases(2) }), aMiner({ resting: true, bannedUntil: NOW })]);
    expect([crew.pick('forward', NOW), crew.pick('backward', NOW)]).toEqual([null, null]);
  });

  it('is the one who joined first among equals', () => {
    const miners = [aMiner(), aMiner(), aMiner()];
    expect(crewOf(miners.toReversed()).pick('forward', NOW)).toBe(miners[0]);
  });

  it('is not a slow one because it is overdue already', () => {
    const frozen = aMiner({ pace: 60_000, leases: leases(1), queueEnd: NOW - 120_000 });
    const soon = aMiner({ pace: 100, leases: leases(1), queueEnd: NOW + 50 });
    expect(crewOf([frozen, soon]).pick('forward', NOW)).toBe(soon);
    expect(crewOf([frozen, soon]).pick('backward', NOW)).toBe(soon);
  });

  it('is at the last stage whoever finishes a backward first', () => {
    const last = newStage(1, 2, 0, 'p', 0);
    const near = aMiner({ pace: 100, leases: leases(1), queueEnd: NOW + 10 });
    const fast = aMiner({ pace: 60, leases: leases(1), queueEnd: NOW + 60 });
    expect(crewOf([near, fast], last).pick('backward', NOW)).toBe(fast); // 10 + 250 or 60 + 150
  });
});

describe('whoever is to be avoided', () => {
  it('is passed over while somebody else is fit, and not when it is the only one', () => {
    const [late, other] = [aMiner({ pace: 1 }), aMiner({ pace: 1_000 })];
    const crew = crewOf([late, other]);
    expect(crew.pick('backward', NOW, late.id)).toBe(other);
    crew.remove(other);
    expect(crew.pick('backward', NOW, late.id)).toBe(late);
  });

  it('is passed over even if the others have no lease free now', () => {
    const late = aMiner();
    expect(crewOf([late, aMiner({ leases: leases(2) })]).pick('forward', NOW, late.id)).toBeNull();
  });

  it('is taken when the others are banned, resting or away', () => {
    const late = aMiner();
    const others = [PLACES.banned, PLACES.out, { resting: true, restUntil: NOW + 9 }].map(aMiner);
    expect(crewOf([late, ...others]).pick('forward', NOW, late.id)).toBe(late);
  });

  it('bears on nobody else, and on no other stage', () => {
    const [a, b] = [aMiner(), aMiner()];
    expect(crewOf([a, b]).pick('forward', NOW, 'of another stage')).toBe(a);
  });
});

describe('a ban', () => {
  it('is ignored only when everybody who could work is banned', () => {
    const banned = aMiner({ pace: 1, resting: true, bannedUntil: NOW + 5 });
    const crew = crewOf([banned, aMiner({ phase: 'loading' })]);
    expect(crew.pick('forward', NOW)).toBe(banned);
    const slow = aMiner({ pace: 99_999, leases: leases(2) });
    crew.add(slow);
    expect(crew.pick('forward', NOW)).toBeNull();
    crew.remove(slow);
    expect(crew.pick('forward', NOW)).toBe(banned);
  });

  it('that ends first is ignored first', () => {
    const [longer, shorter] = [900, 300].map((ms) => aMiner({ resting: true, bannedUntil: NOW + ms }));
    expect(crewOf([longer!, shorter!]).pick('forward', NOW)).toBe(shorter);
    expect(crewOf([longer!, shorter!]).pick('forward', NOW, shorter!.id)).toBe(longer);
    expect(crewOf([shorter!]).pick('forward', NOW, shorter!.id)).toBe(shorter);
  });

  it('is ignored for one lease at a time, and for no forward whose input could not be kept', () => {
    const banned = { resting: true, bannedUntil: NOW + 5 };
    expect(crewOf([aMiner({ ...banned, leases: leases(1) })]).pick('backward', NOW)).toBeNull();
    const full = crewOf([aMiner({ ...banned, kept: keptInputs })]);
    expect(full.pick('forward', NOW)).toBeNull();
    expect(full.pick('backward', NOW)).not.toBeNull();
  });
});

describe('a rest', () => {
  it('is never ignored, not even by a stage that has nobody else', () => {
    const crew = crewOf([aMiner({ resting: true, restUntil: NOW + 1 })]);
    expect([crew.pick('forward', NOW), crew.pick('backward', NOW)]).toEqual([null, null]);
  });

  it('is not ignored with the ban that lasts longer', () => {
    const crew = crewOf([aMiner({ resting: true, restUntil: NOW + 1, bannedUntil: NOW + 5 })]);
    expect([crew.pick('forward', NOW), crew.pick('backward', NOW)]).toEqual([null, null]);
  });
});

describe('whoever takes over for somebody', () => {
  it('is the fastest with nothing at all to do, but not that one', () => {
    const [a, b] = [aMiner({ pace: 5 }), aMiner({ pace: 9 })];
    const crew = crewOf([a, b, aMiner({ pace: 1, leases: leases(1) }), aMiner({ pace: 1, kept: keptInputs })]);
    expect(crew.pickIdle(a)).toBe(b);
    expect(crew.pickIdle(b)).toBe(a);
    crew.remove(b);
    expect(crew.pickIdle(a)).toBeNull();
  });
});

describe('what was useless in some hands', () => {
  const otherOf = (crew: Crew, steps: Record<string, number> = {}, tried = ['gave it back'], slot: Slot = 'forward') =>
    crew.pickOther(slot, NOW, tried, ({ id }) => steps[id] ?? 0);

  it('goes to one that has proved most, and has a hand free', () => {
    const [proven, quick] = [aMiner({ pace: 900 }), aMiner({ pace: 1 })];
    expect(otherOf(crewOf([quick, proven]), { [proven.id]: 1 })).toBe(proven);
    proven.leases = leases(2);
    expect(otherOf(crewOf([quick, proven]), { [proven.id]: 1 })).toBe(quick);
  });

  it('is shared by all that have half of what the first has, by who would finish it first', () => {
    const [best, half, less] = [aMiner({ pace: 900 }), aMiner({ pace: 500 }), aMiner({ pace: 1 })];
    const steps = { [best.id]: 30, [half.id]: 15, [less.id]: 14 };
    expect(otherOf(crewOf([best, half, less]), steps)).toBe(half);
    half.leases = leases(1);
    half.queueEnd = NOW + 401;
    expect(otherOf(crewOf([best, half, less]), steps)).toBe(best);
  });

  it('never goes to who tried, nor to one that has no room for it', () => {
    const [tried, full] = [aMiner(), aMiner({ kept: keptInputs })];
    expect(otherOf(crewOf([tried, full]), {}, [tried.id])).toBeNull();
    expect(otherOf(crewOf([tried, full]), {}, [tried.id], 'backward')).toBe(full);
  });

  it.each([
    ['keep as many inputs as they may', { kept: keptInputs }],
    ['have all the leases they may', { leases: leases(2) }],
    ['apply a merge', { phase: 'applying', version: -1 }],
    ['fetch their stage', { phase: 'loading', version: -1 }],
  ] satisfies [string, Partial<MinerRecord>][])('waits for others while they %s', (_, over) => {
    const tried = aMiner();
    expect(crewOf([tried, aMiner(over)]).hasOther([tried.id])).toBe(true);
  });

  it('waits for nobody who is away, at rest or banned', () => {
    const gone = [PLACES.out, PLACES.banned, PLACES.absent, PLACES.owed, { phase: 'applying', connected: false } as const];
    const rests = { phase: 'applying', resting: true, restUntil: NOW + 1 } as const;
    const tried = aMiner();
    expect(crewOf([tried, ...[...gone, rests].map((over) => aMiner(over))]).hasOther([tried.id])).toBe(false);
  });
});

describe('the pick', () => {
  /** All of it from the definition, by looking at everybody. */
  function bruteForce(crew: Crew, slot: Slot, now: number, avoid: string | null): MinerRecord | null {
    const all = [...crew.members.values()];
    const at = (...places: Place[]) => all.filter((miner) => places.includes(crew.wherePlaced(miner)));
    const best = (candidates: MinerRecord[], value: (miner: MinerRecord) => number) =>
      candidates.sort((a, b) => value(a) - value(b) || a.order - b.order)[0] ?? null;
    const fit = at('idle', 'half', 'full', 'taken');
    if (fit.length === 0) {
      const banned = at('banned');
      const free = banned
        .filter((miner) => miner.leases.size === 0 && (slot === 'backward' || miner.kept < keptInputs))
        .filter((miner) => banned.length === 1 || miner.id !== avoid);
      return best(free, ({ bannedUntil }) => bannedUntil);
    }
    const able = (slot === 'backward' ? at('idle', 'half', 'full') : at('idle', 'half')).filter(
      (miner) => fit.length === 1 || miner.id !== avoid,
    );
    return best(able, (miner) => finish(crew, miner, slot, now));
  }
  const finish = (crew: Crew, miner: MinerRecord, slot: Slot, now: number) =>
    (miner.leases.size > 0 ? Math.max(now, miner.queueEnd) : now) + unitsOf(crew.stage, slot) * miner.pace;

  const value = (crew: Crew, miner: MinerRecord, slot: Slot, now: number) =>
    crew.placeOf(miner) === 'banned' ? miner.bannedUntil : finish(crew, miner, slot, now);

  function randomise(miner: MinerRecord, dice: Dice, now: number): void {
    const most = allowance(Object.assign(miner, { late: dice.below(3) }));
    Object.assign(miner, {
      leases: leases(dice.below(most + 1)),
      kept: dice.chance(0.2) ? keptInputs + dice.below(2) : dice.below(keptInputs),
      pace: 1 + dice.below(2_000),
      queueEnd: now + dice.below(3_000) - 1_500,
      connected: dice.chance(0.9),
      phase: dice.chance(0.9) ? 'ready' : 'applying',
      resting: false,
      restUntil: 0,
      bannedUntil: 0,
    } satisfies Partial<MinerRecord>);
    // Without a lease it has nothing to finish.
    if (miner.leases.size === 0) miner.queueEnd = Math.min(miner.queueEnd, now);
    if (dice.chance(0.2)) Object.assign(miner, { resting: true, bannedUntil: now + 1 + dice.below(9_000) });
    else if (dice.chance(0.1)) Object.assign(miner, { resting: true, restUntil: now + 1 + dice.below(9_000) });
  }

  /** Asks a crew that changes all the time; `look` is told every pick, and the right one. */
  function watch(
    stage: StageRecord,
    seed: number,
    look: (crew: Crew, slot: Slot, now: number, picked: MinerRecord | null, best: MinerRecord | null) => void,
  ) {
    const dice = new Dice(seed);
    for (let round = 0; round < 60; round++) {
      const members = Array.from({ length: 1 + dice.below(12) }, () => aMiner());
      const crew = crewOf(members, stage);
      let now = NOW;
      const change = (miner: MinerRecord) => {
        randomise(miner, dice, now);
        crew.place(miner);
      };
      members.forEach(change);
      for (let i = 0; i < 80; i++) {
        now += dice.below(300);
        change(dice.pick(members)!);
        const slot = dice.chance(0.5) ? 'forward' : 'backward';
        const avoid = dice.chance(0.5) ? dice.pick(members)!.id : null;
        look(crew, slot, now, crew.pick(slot, now, avoid), bruteForce(crew, slot, now, avoid));
      }
    }
  }

  it('equals a choice by brute force, over random crews: for forwards, and at the last stage for backwards', () => {
    let compared = 0;
    for (const [stage, usual] of [
      [aStage(), 'forward'],
      [newStage(1, 2, 0, 'p', 0), 'backward'],
    ] as const) {
      watch(stage, 3, (crew, slot, now, picked, best) => {
        if (slot !== usual) return;
        compared += 1;
        expect(picked === null).toBe(best === null);
        // Among equals of different places it may be another one.
        if (picked && best) expect(value(crew, picked, slot, now)).toBe(value(crew, best, slot, now));
      });
    }
    expect(compared).toBeGreaterThan(4_000);
  });

  it('is for a backward at another stage hardly ever later than the best, and by less than its own backward takes', () => {
    const seen = { same: 0, other: 0 };
    watch(aStage(), 4, (crew, slot, now, picked, best) => {
      if (slot !== 'backward') return;
      expect(picked === null).toBe(best === null);
      if (!picked || !best) return;
      seen[picked === best ? 'same' : 'other'] += 1;
      const lost = finish(crew, picked, slot, now) - finish(crew, best, slot, now);
      expect(lost).toBeLessThanOrEqual((unitsOf(crew.stage, slot) - 1) * picked.pace);
    });
    expect(seen.same).toBeGreaterThan(20 * seen.other);
  });
});
