import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { facts } from './for-tests.ts';
import { allowance, ban, countLate, forgetPace, learnPace, newMiner, noCredit } from './miner.ts';

const aMiner = () => newMiner('a', 0, facts, 0, 0);

describe('the pace of a miner', () => {
  it('is its first sample after the first sample: the average has no bias towards zero', () => {
    const miner = aMiner();
    learnPace(miner, 400);
    expect(miner.pace).toBeCloseTo(400, 9);
    learnPace(miner, 400);
    expect(miner.pace).toBeCloseTo(400, 9);
  });

  it('gives the newest sample its weight, and all of them together one', () => {
    const miner = aMiner();
    const samples = [100, 700, 300, 300, 900];
    for (const sample of samples) learnPace(miner, sample);
    const { speedAlpha: alpha } = LIMITS;
    const weights = samples.map((_, i) => alpha * (1 - alpha) ** (samples.length - 1 - i));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    expect(miner.pace).toBeCloseTo(
      samples.reduce((sum, sample, i) => sum + (sample * weights[i]!) / total, 0),
      9,
    );
  });

  it('is a guess again on another stage', () => {
    const miner = aMiner();
    for (let i = 0; i < 20; i++) learnPace(miner, 10);
    forgetPace(miner, 5_000);
    expect([miner.pace, miner.samples]).toEqual([5_000, 0]);
    learnPace(miner, 70);
    expect(miner.pace).toBeCloseTo(70, 9);
  });
});

describe('a miner that is late', () => {
  it('has a shorter queue after the second time, and is banned after the third', () => {
    const miner = aMiner();
    const credit = noCredit(aMiner().facts);
    const seen = [1, 2, 3].map((time) => ({
      ban: countLate(miner, credit, 1_000 * time),
      leases: allowance(miner),
      resting: miner.resting,
    }));
    expect(seen).toEqual([
      { ban: 0, leases: LIMITS.leasesPerMiner, resting: false },
      { ban: 0, leases: 1, resting: false },
      { ban: LIMITS.banBase, leases: 1, resting: true },
    ]);
    expect(miner.bannedUntil).toBe(3_000 + LIMITS.banBase);
  });

  it('is banned for twice as long every time, up to a limit that holds for good', () => {
    const miner = aMiner();
    const credit = { ...noCredit(aMiner().facts) };
    miner.late = LIMITS.lateBeforeBan - 1;
    const bans = Array.from({ length: 9 }, () => countLate(miner, credit, 0));
    expect(bans).toEqual([15, 30, 60, 120, 240, 480, 900, 900, 900].map((s) => s * 1_000));
    expect(countLate(miner, { ...credit, bans: 5_000 }, 0)).toBe(LIMITS.banMaximum);
  });

  it('is banned still when it comes back as a new record', () => {
    const credit = { ...noCredit(aMiner().facts), bannedUntil: 77 };
    const miner = aMiner();
    ban(miner, credit);
    expect([miner.bannedUntil, miner.resting]).toEqual([77, true]);
  });
});
