/** A log read again: the machine as it was after any entry of it, and by which rules. */
import { SwarmError } from '@starling/protocol';
import { contentOf, isGenesis, isNewRules, NO_RULES, savedIn } from './log-format.ts';
import type { Machine, Maker } from './machine.ts';
import type { Store } from './store.ts';

/** Entries read at a time. */
const PAGE = 5_000;

export interface Beginning<M> {
  machine: M;
  /** Those of its newest entry. */
  rules: number;
  /** The newest entry in it. */
  seq: number;
  /** The snapshot it was read from; the genesis when there was none. */
  snapshotSeq: number;
}

export interface Replayed<M> extends Beginning<M> {
  /** The newest input that was handled by other rules here than when it was written: since then the state may be another. */
  otherRules: { seq: number; rules: number } | null;
}

export interface ReplayOptions<Input, Effect, M> {
  /** The last entry. */
  through?: number;
  /** False: read the whole log. */
  snapshots?: boolean;
  /** Handle inputs of other rules, too, and tell of it; else they are refused. */
  anyRules?: boolean;
  /** Go on from there instead; its machine is used. */
  from?: Replayed<M> | null;
  /** Gets an input and what it caused, after it was handled. */
  watch?(handled: { seq: number; input: Input; effects: readonly Effect[]; machine: M }): void;
}

/**
 * The machine as it was after entry `through`, from the newest snapshot before it; null for an empty log.
 * Throws `LOG_DAMAGED`, and `LOG_UNREADABLE` for a log of another release.
 */
export async function replay<Input, Effect, M extends Machine<Input, Effect>>(
  store: Pick<Store, 'entries' | 'snapshot'>,
  maker: Maker<M>,
  options: ReplayOptions<Input, Effect, M> = {},
): Promise<Replayed<M> | null> {
  const { through = Number.MAX_SAFE_INTEGER, snapshots = true, anyRules = false, from = null, watch } = options;
  const snapshot = snapshots && !from ? await store.snapshot(through) : null;
  let machine = from?.machine ?? null;
  let rules = from?.rules ?? NO_RULES;
  let seq = from?.seq ?? snapshot?.seq ?? 0;
  let snapshotSeq = from?.snapshotSeq ?? seq;
  let otherRules = from?.otherRules ?? null;
  try {
    if (snapshot) {
      const saved = savedIn(snapshot);
      rules = saved.rules;
      machine = maker.restore(saved.state);
    }
    for (let more = true; more && seq < through; ) {
      const page = await store.entries(seq, Math.min(PAGE, through - seq));
      more = page.length > 0;
      for (const entry of page) {
        const input = contentOf<Input>(entry, seq);
        if (isGenesis(input)) {
          machine = maker.begin(input.genesis, entry.at);
          rules = input.rules ?? NO_RULES;
          snapshotSeq = entry.seq;
          otherRules = null;
        } else if (isNewRules(input)) {
          rules = input.rules;
        } else {
          if (!machine) throw new Error('it does not begin at its beginning');
          if (rules !== maker.rules) {
            if (!anyRules) throw ofOtherRules(entry.seq, rules, maker.rules);
            otherRules = { seq: entry.seq, rules };
          }
          const effects = machine.handle(input, entry.at);
          watch?.({ seq: entry.seq, input, effects, machine });
        }
        seq = entry.seq;
      }
    }
  } catch (error) {
    if (error instanceof SwarmError && error.code !== 'INTERNAL') throw error;
    throw new SwarmError('LOG_UNREADABLE', `The log cannot be read after entry ${seq}: ${(error as Error).message}.`, { cause: error });
  }
  return machine && { machine, rules, seq, snapshotSeq, otherRules };
}

function ofOtherRules(seq: number, rules: number, here: number): SwarmError {
  const written = rules === NO_RULES ? 'before rules were numbered' : `under rules ${rules}`;
  const then =
    rules === NO_RULES
      ? 'Only the release that wrote it can go on with it.'
      : 'To go on, start the release that wrote it once more and stop it with SIGTERM, which leaves a snapshot at the end of the log; then start this one.';
  return new SwarmError(
    'LOG_UNREADABLE',
    `Entry ${seq} of the log was written ${written}: those of this release (${here}) could make another state of it. ${then}`,
  );
}
