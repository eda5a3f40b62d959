/**
 * Every time and limit of the protocol, with its reason. Times are milliseconds.
 */
export const LIMITS = {
  /** Leases one miner holds at once: one computed, one on the wire, so that a network hop never idles a GPU. */
  leasesPerMiner: 2,
  /** A dropped socket may be a reload or a Wi-Fi hop; within this time the miner resumes with its leases. */
  reconnectGrace: 5_000,
  /** A stage's first leases include shader compilation, which takes tens of seconds on a software GPU. */
  firstDeadline: 90_000,
  /** Under this, jitter of a busy desktop (other tabs, garbage collection) would look like a failure. */
  minimumDeadline: 20_000,
  maximumDeadline: 300_000,
  /** Deadline = median + k · MAD of the stage's recent lease times; k = 4 passes 99.9 % of a normal spread with room. */
  deadlineSpread: 4,
  /** Lease times kept per stage and kind. */
  recentTimes: 64,
  /** A miner that computed a step must upload its gradient within this time or its microbatches are redone elsewhere. */
  collectDeadline: 60_000,
  /** Fetching a stage or applying a merge must end within this time: an idle page must not hold a stage others could fill. */
  phaseDeadline: 300_000,
  /** Late this often in a row: no leases for a while. Once can be chance. */
  lateBeforeTimeout: 2,
  /** First time-out; doubles with every further one (Petals uses the same base). Ignored when the stage has nobody else. */
  timeoutBase: 15_000,
  timeoutMaximum: 15 * 60_000,
  /** Nats per token: a uniform guess over 128,000 tokens is 12, so more than this is no loss but a fault or a lie. */
  maximumTokenLoss: 1_000,
  /** Weight of the newest sample in a miner's moving average of seconds per lease (SWARM). */
  speedAlpha: 0.1,
} as const;
