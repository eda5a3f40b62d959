/** The run's checkpoints as it goes on: every so many steps, and when it ends, the last closed step is written. */
import { LIMITS } from '@starling/coordinator';
import type { RunConfig } from '@starling/protocol';
import type { Checkpoint, Checkpoints } from './checkpoints.ts';
import type { Models } from './models.ts';
import { encodeVectors, type SavedRun } from './saved-run.ts';
import type { StageStates, StageVersion } from './stage-states.ts';
import type { RunView } from './view.ts';

export interface SavingParts {
  config: RunConfig;
  corpusHash: string;
  /** Steps between checkpoints. */
  every: number;
  checkpoints: Checkpoints;
  models: Models;
  states: StageStates;
  view: RunView;
  fault(error: unknown): void;
}

export class Saving {
  private readonly parts: SavingParts;
  private lastClosed: { version: number; stages: StageVersion[] } | null = null;
  private lastSaved: number;
  private saving: Promise<void> = Promise.resolve();

  /** `saved`: version of the newest checkpoint that is there; −1 without one. */
  constructor(parts: SavingParts, saved: number) {
    this.parts = parts;
    this.lastSaved = saved;
  }

  /** The last step that every stage has merged; null before the first of this process. */
  get closed(): { version: number; stages: StageVersion[] } | null {
    return this.lastClosed;
  }

  /** Version of the newest checkpoint; −1 before the first. */
  get saved(): number {
    return this.lastSaved;
  }

  /** Every stage has merged the step that made `version`; `done`: it was the last. */
  stepClosed(version: number, done: boolean): void {
    const { config, every, states } = this.parts;
    // No stage can be past this version yet: its next step needs every other stage to have this one.
    this.lastClosed = { version, stages: config.stages.map((_, stage) => states.at(stage)) };
    if (done || version % every === 0) void this.save();
  }

  /** Writes the last closed step, unless it is on disk already. A failure is reported and harms nothing. */
  save(): Promise<void> {
    this.saving = this.saving.then(() => this.write()).catch(this.parts.fault);
    return this.saving;
  }

  private async write(): Promise<void> {
    const closed = this.lastClosed;
    if (!closed || closed.version <= this.lastSaved) return;
    const { config, corpusHash, checkpoints, models, states, view } = this.parts;
    const { points, startedAt } = view;
    const tokens = points.findLast((point) => point.step === closed.version)?.tokens ?? view.tokens;
    const run: SavedRun = { config, corpusHash, startedAt, tokens, points: points.filter((point) => point.step <= closed.version) };
    const checkpoint: Checkpoint = {
      version: closed.version,
      cursor: closed.version * config.microbatchesPerStep,
      tokens,
      run,
      stages: await Promise.all(closed.stages.map(encodeVectors)),
    };
    await checkpoints.save(checkpoint);
    this.lastSaved = closed.version;
    // Should the newest turn out damaged, the one before it and the merges since do as well.
    states.forgetMerges(checkpoints.versions().at(-2) ?? -1, LIMITS.mergesKept);
    await models.keep(closed);
  }
}
