/** Results of many seeds, added up. */
import type { Result } from './world.ts';

export interface Tally {
  seeds: number;
  inputs: number;
  faults: Record<string, number>;
  /** Leases computed, and how many of them counted. */
  computed: number;
  counted: number;
  /** Virtual ms until the last step closed, all seeds together. */
  tookMs: number;
  failures: { seed: number; problem: string }[];
}

export const noTally = (): Tally => ({ seeds: 0, inputs: 0, faults: {}, computed: 0, counted: 0, tookMs: 0, failures: [] });

export function add(tally: Tally, { seed, problem, inputs, faults, computed, counted, tookMs }: Result): void {
  tally.seeds += 1;
  tally.inputs += inputs;
  tally.computed += computed;
  tally.counted += counted;
  tally.tookMs += tookMs;
  for (const [fault, count] of Object.entries(faults)) tally.faults[fault] = (tally.faults[fault] ?? 0) + count;
  if (problem) tally.failures.push({ seed, problem });
}

export const faultsOf = (tally: Tally): number => Object.values(tally.faults).reduce((sum, count) => sum + count, 0);
