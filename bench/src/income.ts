/** What cheating earns: devices, their lies and their audits, step by step, by the rates and the rules of pay that servers have. */
import { AUDITS, auditRate, rateAtStake } from '@starling/audit';

/** Steps of a life. */
export const LIFE = 1_000;
/** Steps that a first ban takes, at 20 s a step: an hour. */
const BAN_STEPS = 180;
/** In a round of the ledger. */
const ROUND_STEPS = 5;

/** What a device may know of itself when it decides whether to lie. */
interface Known {
  passed: boolean;
  /** Clean steps. */
  clean: number;
  /** So often it has lied. */
  lied: number;
  /** Honest steps since it last did. */
  honest: number;
}

/** How somebody cheats, and what it does when it has. */
export interface Strategy {
  name: string;
  /** Whether it lies in a step. */
  lies(device: Known, chance: () => number): boolean;
  /** Honest steps' pay that a lie is worth: lies take no time, and whoever is fast gets more to do. 1 unless it is said. */
  fold?: number;
  /** Its lies are on inputs that confederates chose, on which honest results differ, too: an audit sees them and cannot condemn them. */
  unverified?: boolean;
  /** Takes a new device after so many lies, and when it is found; null: keeps its own, and waits for the end of a ban. */
  leavesAfter: number | null;
}

export const HONEST_ALWAYS: Strategy = { name: 'honest', lies: () => false, leavesAfter: null };
export const staying = (share: number): Strategy => ({
  name: 'keeps its device',
  lies: (_, chance) => chance() < share,
  leavesAfter: null,
});
/** A key is free: whoever is found comes back with another one at once. */
export const REJOINING: readonly Strategy[] = [
  { name: 'always lies, rejoins when found', lies: () => true, leavesAfter: Infinity },
  { name: 'lies once and leaves', lies: () => true, leavesAfter: 1 },
  ...[1, 2, 3, 4, 5].map((k) => ({
    name: `honest until it passed, lies ${k}×, leaves`,
    lies: ({ passed }: Known) => passed,
    leavesAfter: k,
  })),
];

export const FOLDS: readonly number[] = [1, 3, 10, 20];
export const POOLS: readonly number[] = [1, 8];
/** Patience first, or only until the first pass; then a burst; and, if it was not found, patience until all of it is paid. */
export const BURSTS: readonly Strategy[] = [AUDITS.newcomerSteps, 0].flatMap((patience) =>
  [1, 5, 10, 20, Infinity].map((burst) => ({
    name: `${patience > 0 ? `${patience} clean steps` : 'a pass'}, then bursts of ${burst}`,
    lies: ({ passed, clean, lied, honest }: Known) =>
      passed && clean >= patience && (lied % burst > 0 || lied === 0 || honest > AUDITS.heldSteps),
    leavesAfter: Infinity,
  })),
);

/** What patience is before: once it passed, it lies on inputs that confederates chose, in every step or in bursts. */
export const SHELTERED: readonly Strategy[] = [{ name: 'always', lies: ({ passed }: Known) => passed, leavesAfter: null }, ...BURSTS].map(
  (strategy) => ({ ...strategy, unverified: true }),
);

export interface Conditions {
  lives: number;
  /** Share of the audits of lies that find them. */
  detected: number;
  /** Of one machine: it computes honestly for one in each step, and lies with all that want to. */
  keys?: number;
  /** So many times the pay of what it cannot verify an audit takes, which was drawn with that chance. */
  takes?(chance: number): number;
  /** Of an audit. `held`: what the device loses with the step, in steps; null: nothing of its counts. */
  chanceOf?(standing: Parameters<typeof auditRate>[0], work: number, held: number | null): number;
  /** Steps that a first ban takes. */
  ban?: number;
}

const usualChance: NonNullable<Conditions['chanceOf']> = (standing, work, held) =>
  Math.max(auditRate(standing), held === null ? 0 : rateAtStake(work, held));

interface Device extends Known {
  failures: number;
  /** Work of the steps that are held, the oldest first. */
  held: number[];
  /** Of it: paid if nothing is found. */
  sum: number;
  countsFrom: number;
  bannedUntil: number;
}

const newDevice = (): Device => ({
  ...{ passed: false, clean: 0, lied: 0, honest: 0, failures: 0 },
  ...{ held: [], sum: 0, countsFrom: Infinity, bannedUntil: 0 },
});

/** The oldest first, as the ledger has it. */
function takeFrom(device: Device, owed: number): void {
  for (let i = 0; i < device.held.length && owed > 0; i++) {
    const taken = Math.min(owed, device.held[i]!);
    device.held[i]! -= taken;
    device.sum -= taken;
    owed -= taken;
  }
}

/** Honest steps' pay in a life, and audits spent, on average. */
export function income(
  { lies, leavesAfter, fold = 1, unverified = false }: Strategy,
  { lives, detected, keys = 1, chanceOf = usualChance, takes = (rate) => 1 / rate, ban = BAN_STEPS }: Conditions,
  next: () => number,
): { paid: number; audits: number } {
  const chance = () => next() / 2 ** 32;
  let [paid, audits] = [0, 0];

  /** One step with one device. Returns the device that it goes on with. */
  function stepOf(device: Device, step: number, isTurn: boolean): Device {
    const cheats = step >= device.bannedUntil && lies(device, chance);
    const takesPart = step >= device.bannedUntil && (cheats || isTurn);
    const work = cheats ? fold : takesPart ? 1 : 0;
    const counts = step >= device.countsFrom;
    // What the next line sets free may be paid before an audit is done.
    const due = device.held.slice(0, Math.max(0, device.held.length + ROUND_STEPS - AUDITS.heldSteps)).reduce((all, one) => all + one, 0);
    const lost = counts ? device.sum - due : null;
    device.held.push(counts ? work : 0);
    device.sum += counts ? work : 0;
    if (device.held.length > AUDITS.heldSteps) {
      const free = device.held.shift()!;
      device.sum -= free;
      paid += free;
    }
    if (!takesPart) return device;
    const rate = Math.min(
      1,
      chanceOf({ unseen: !device.passed, cleanSteps: device.clean, failures: device.failures, zScore: 0 }, work, lost),
    );
    if (chance() < rate) {
      audits += 1;
      if (cheats && unverified) {
        if (counts) takeFrom(device, takes(rate) * work);
        device.clean = 0;
      } else if (cheats && chance() < detected) {
        if (leavesAfter !== null) return newDevice();
        const { failures } = device;
        return { ...newDevice(), failures: failures + 1, bannedUntil: step + 1 + ban * 2 ** failures };
      }
      // Work counts after the round of the first pass.
      if (!device.passed) device.countsFrom = ROUND_STEPS * Math.ceil((step + 1) / ROUND_STEPS);
      device.passed = true;
    }
    if (device.passed) device.clean += 1;
    device.lied += cheats ? 1 : 0;
    device.honest = cheats ? 0 : device.honest + 1;
    if (leavesAfter === null || device.lied < leavesAfter) return device;
    // What it leaves behind is paid: nobody looks at it any more.
    paid += device.sum;
    return newDevice();
  }

  for (let life = 0; life < lives; life++) {
    const devices = Array.from({ length: keys }, newDevice);
    for (let step = 0; step < LIFE; step++) {
      // One after the other gets through its patience.
      const turn = Math.floor(step / AUDITS.heldSteps) % keys;
      for (let i = 0; i < keys; i++) devices[i] = stepOf(devices[i]!, step, i === turn);
    }
  }
  return { paid: paid / lives, audits: audits / lives };
}
