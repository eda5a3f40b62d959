/** What is journaled: pure, and plain data in and out. */
export interface Machine<Input, Effect> {
  /** Unix ms of the newest input. */
  readonly now: number;
  handle(input: Input, now: number): Effect[];
  /** Equal states give equal JSON. */
  snapshot(): unknown;
}

/** How a machine begins: from the log's first entry, or from a snapshot. */
export interface Maker<M> {
  /** Number of the rules its machines handle inputs by: other rules may make another state of the same inputs. */
  readonly rules: number;
  begin(genesis: unknown, now: number): M;
  restore(snapshot: unknown): M;
}
