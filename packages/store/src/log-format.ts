/** How a machine's log is written down: what an entry is if it is no input, and what a snapshot holds. */
import { hash } from 'node:crypto';
import { SwarmError } from '@starling/protocol';
import type { Machine } from './machine.ts';
import type { Entry, Snapshot } from './store.ts';

/** The first entry of a log, and of every new beginning in it. */
export interface Genesis {
  type: 'genesis';
  rules: number;
  genesis: unknown;
}

/** What follows was handled by these rules: the first entry of a release with other rules. It changes nothing of the state. */
export interface NewRules {
  type: 'rules';
  rules: number;
}

/** Of logs and snapshots from before rules were numbered. */
export const NO_RULES = 0;

/** A snapshot's text; from before rules were numbered it is `state` alone. */
interface Saved {
  rules: number;
  state: unknown;
}

export function snapshotOf(machine: Machine<never, unknown>, rules: number, seq: number): Snapshot {
  const state = JSON.stringify({ rules, state: machine.snapshot() } satisfies Saved);
  return { seq, hash: hash('sha256', state), state };
}

/** Throws what `JSON.parse` throws. */
export function savedIn({ state }: Snapshot): Saved {
  const saved = JSON.parse(state) as Partial<Saved>;
  return typeof saved.rules === 'number' ? (saved as Saved) : { rules: NO_RULES, state: saved };
}

/** What is in an entry. Throws `LOG_DAMAGED` where it is not the one after entry `before`, or no JSON. */
export function contentOf<Input>({ seq, body }: Entry, before: number): Genesis | NewRules | Input {
  if (seq !== before + 1) throw new SwarmError('LOG_DAMAGED', `Entry ${before + 1} of the log is missing.`);
  try {
    return JSON.parse(body) as Genesis | NewRules | Input;
  } catch (error) {
    throw new SwarmError('LOG_DAMAGED', `Entry ${seq} of the log is not what was written.`, { cause: error });
  }
}

const typeOf = (input: unknown) => (input as { type?: unknown })?.type;
export const isGenesis = (input: unknown): input is Genesis => typeOf(input) === 'genesis';
export const isNewRules = (input: unknown): input is NewRules => typeOf(input) === 'rules';
