/** What goes wrong, and how often. */

export interface Schedule {
  // ── of every message between a miner and the server
  /** It is lost, and nobody notices. A miner repeats a request that is not answered. */
  loss: number;
  duplication: number;
  /** It comes later than messages sent after it. */
  reordering: number;

  // ── of everything a miner does
  /** The tab is gone: its socket closes, nothing more comes. */
  crash: number;
  /** The process stands still, with its socket open (SIGSTOP, a sleeping laptop). */
  freeze: number;
  /** It computes many times slower than usual. */
  stall: number;
  /** Its socket closes and comes back. */
  drop: number;
  leave: number;
  /** It says that it is busy instead of computing. */
  busy: number;
  /** A result, or a gradient, is NaN. */
  useless: number;
  /** It says to hold other parameters than it should. */
  lie: number;

  // ── of every second
  /** A miner joins. */
  join: number;
  /** A part of the miners is cut off from the server. */
  partition: number;
  /** The server is killed. */
  kill: number;
  /** The server's process stands still. */
  standstill: number;
  /** The disk is full, for seconds or for minutes. */
  fullDisk: number;

  // ── of every miner
  /** Its line is so slow that a transfer takes up to two minutes. */
  slowLine: number;

  // ── of every microbatch
  /** Its result is NaN whoever computes it. */
  poison: number;
}

export const CALM: Schedule = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  crash: 0,
  freeze: 0,
  stall: 0,
  drop: 0,
  leave: 0,
  busy: 0,
  useless: 0,
  lie: 0,
  join: 0,
  partition: 0,
  kill: 0,
  standstill: 0,
  fullDisk: 0,
  slowLine: 0,
  poison: 0,
};

/** Far worse than any real swarm: hundreds of faults in a run of minutes. */
export const ROUGH: Schedule = {
  loss: 0.001,
  duplication: 0.01,
  reordering: 0.005,
  crash: 0.001,
  freeze: 0.002,
  stall: 0.01,
  drop: 0.005,
  leave: 0.0005,
  busy: 0.005,
  useless: 0.002,
  lie: 0.005,
  join: 0.05,
  partition: 0.005,
  kill: 0.01,
  standstill: 0.003,
  fullDisk: 0.005,
  slowLine: 0.03,
  poison: 0.001,
};

export function scaled(schedule: Schedule, factor: number): Schedule {
  return Object.fromEntries(Object.entries(schedule).map(([fault, p]) => [fault, Math.min(1, p * factor)])) as unknown as Schedule;
}
