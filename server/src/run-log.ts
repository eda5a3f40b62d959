/** The run's coordinator behind its journal: how a log begins, and how it is read. */
import { Coordinator, type CoordinatorConfig, type Effect, type Input, RULES, type Snapshot } from '@starling/coordinator';
import { RunConfig, SwarmError } from '@starling/protocol';
import type { Journal, Maker } from '@starling/store';
import * as v from 'valibot';

/** The first entry of a log: which run it is of, and from which version on. */
export interface Genesis {
  coordinator: CoordinatorConfig;
  run: RunConfig;
  corpusHash: string;
}

export type RunJournal = Journal<Input, Effect, Machine>;

/** A coordinator that knows which run it is of. */
export class Machine {
  readonly genesis: Genesis;
  readonly coordinator: Coordinator;

  constructor(genesis: Genesis, coordinator: Coordinator) {
    this.genesis = genesis;
    this.coordinator = coordinator;
  }

  get now(): number {
    return this.coordinator.now;
  }

  handle(input: Input, now: number): Effect[] {
    return this.coordinator.handle(input, now);
  }

  snapshot(): { genesis: Genesis; coordinator: Snapshot } {
    return { genesis: this.genesis, coordinator: this.coordinator.snapshot() };
  }
}

export const maker: Maker<Machine> = {
  rules: RULES,
  begin: (body, now) => {
    const genesis = body as Genesis;
    if (!v.is(RunConfig, genesis?.run)) throw new SwarmError('LOG_UNREADABLE', 'The log was begun by another release.');
    return new Machine(genesis, new Coordinator(genesis.coordinator, now));
  },
  restore: (body) => {
    const { genesis, coordinator } = body as ReturnType<Machine['snapshot']>;
    if (coordinator?.format !== 3) throw new SwarmError('LOG_UNREADABLE', 'The log’s snapshot was written by another release.');
    return new Machine(genesis, Coordinator.restore(coordinator));
  },
};
