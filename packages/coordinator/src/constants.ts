/**
 * Number of the rules, in every log and snapshot. Raise it whenever the same inputs would give another state or other effects
 * than before, by a change here, to any limit below, or to the butterfly of `@starling/reduce`: logs are read by handling their
 * inputs again, and an old one must not be by new rules.
 */
export const RULES = 6;

/**
 * Every time and limit of the protocol, with its reason. Times are milliseconds.
 *
 * Four times follow from what a stage has shown lately (`times.ts`): the median + k · MAD of its recent ones, and at least twice
 * the median or the slowest. After the *hedge* time an idle miner computes the same lease too and nobody is blamed; after
 * the *deadline* the lease is taken away and counts as late; after the *redo* time a gradient that does not come is computed
 * again by idle miners, and after the *collect* time nobody waits for it.
 */
export const LIMITS = {
  // ── the clock
  /** Between two looks at it: hedges and redone gradients begin by it; four a second cost nothing and lose little. */
  tick: 250,
  /** A look that is so much too late tells that the process stood still; timers of a merely busy one are late by less. */
  tickLate: 2_000,

  // ── leases
  /** Leases one miner holds at once: one computed, one on the wire, so that a network hop never idles a GPU. */
  leasesPerMiner: 2,
  /**
   * A miner that keeps so many stage inputs for its backwards gets no further forward (IOTA allows as many); those it
   * has been granted may come on top. 1F1B needs one for every stage above;
   * sixteen do for any pipeline here. It also bounds the microbatches under way at once.
   */
  keptInputs: 16,
  /** A stage's first leases include shader compilation, which takes tens of seconds on a software GPU. */
  firstDeadline: 90_000,
  /** Under this, jitter of a busy desktop (other tabs, garbage collection) would look like a failure. */
  minimumDeadline: 20_000,
  maximumDeadline: 300_000,
  /** k of median + k · MAD: 4 passes 99.9 % of a normal spread with room. */
  spread: 4,
  /** Times known before a median says anything: leases come by the dozen, uploads once a step. */
  enoughLeases: 8,
  enoughUploads: 3,
  /** Times kept per stage and kind: enough for a median that does not jump, few enough to follow a change. */
  recentTimes: 64,
  /** A hedge costs a second computation: never for what a pause of garbage collection explains. */
  hedgeMinimum: 500,
  /** A microbatch whose result was useless this often, also in the hands of one that is trusted, is left out: its data or the model is at fault. */
  forfeitsPerTask: 3,
  /** Nothing of a step was settled for so long: what was useless in some hands waits no more for others that are busy, fetch the stage or apply a merge. */
  longestWait: 90_000,
  /** More clean steps make nobody more trusted: as many as make audits rarer. Who has half of what the first has is trusted like it. */
  trustedSteps: 30,
  /** No task of a step was settled for so long although some are open: what is missing is left out, if enough is there. */
  stalledStep: 300_000,

  // ── merging
  /** Before the stage has seen uploads: a first upload of a large stage over a home line. */
  firstRedo: 20_000,
  /** An upload that is merely a little slow is not worth computing its microbatches again. */
  redoMinimum: 1_000,
  /**
   * A miner that has not handed in its gradient after this, or after twice the slowest seen, must fetch the stage again; it
   * counts as late. Twice as long for every time in a row, or a slow line would never get one through.
   */
  collectDeadline: 60_000,
  longestCollect: 15 * 60_000,
  /** A reducer is replaced after this, or thrice what gradients take: one pause of garbage collection is no reason. */
  reduceMinimum: 5_000,
  /** Reducers drawn for a shard after its first two, before the orchestrator computes it. */
  redraws: 3,
  /** Merges kept, so that a miner that slept over some steps catches up without fetching the whole stage. */
  mergesKept: 4,

  // ── presence
  /** A dropped socket may be a reload or a Wi-Fi hop; within this time the miner resumes with its leases. */
  reconnectGrace: 5_000,
  /** After a restart of the server everybody reconnects, with pauses of up to five seconds between attempts. */
  restartGrace: 30_000,
  /**
   * Fetching a stage or applying a merge must end within this time: an idle page must not hold a stage others could fill.
   * Twice as long for every time it did not, since a slow line must get there one day.
   */
  phaseDeadline: 300_000,
  longestPhase: 60 * 60_000,
  /** A miner that rests for so long without a receipt in between does not count as staff: its stage may need another. */
  restPatience: 120_000,
  /** Rests with so little between them are one. */
  restGap: 10_000,

  // ── blame
  /** Late this often in a row: only one lease at a time. Once can be chance. */
  lateBeforeShorterQueue: 2,
  /** Late this often in a row: no leases for a while. */
  lateBeforeBan: 3,
  /**
   * Late this often in a row and alone on its stage: it is taken off the run, if another stage can spare somebody who works.
   * It may join again; a ban goes on.
   */
  lateBeforeRemoval: 6,
  /** First ban; doubles with every further one (Petals uses the same base). Ignored when everybody else is banned too. */
  banBase: 15_000,
  banMaximum: 15 * 60_000,
  /** First ban of a miner whose work an audit found false; doubles with every further one. It is never by chance. */
  auditBan: 60 * 60_000,
  auditBanMaximum: 7 * 24 * 60 * 60_000,
  /** A miner may ask for a rest of so long at most; it can ask again. */
  longestRest: 60_000,
  /** Whoever gives a lease back rests for so long at least, or it would be given the same again and again. */
  shortestRest: 1_000,

  // ── speed and placement
  /** Weight of the newest sample in a miner's moving average of ms per unit of work (SWARM). */
  speedAlpha: 0.1,
  /** A backward in units of a forward until the stage has shown its own ratio (SWARM's multiple). */
  backwardUnits: 2.5,
  /** Ms per unit before anybody has shown any; only ratios of it matter. */
  unknownPace: 1_000,
  /** Between looks at the balance of the stages: a move costs a download, and speeds need time to show. */
  rebalanceEvery: 60_000,
  /** A miner moves only if the slowest stage's throughput is under this share of what it would be after (Petals: 0.75). */
  rebalanceGain: 0.75,
  /** Receipts a miner must have shown before its speed is believed in a move. */
  rebalanceSamples: 8,

  // ── plausibility
  /** Nats per token: a uniform guess over 128,000 tokens is 12, so more than this is no loss but a fault or a lie. */
  maximumTokenLoss: 1_000,
} as const;
