/** What a merge asks of the server: chance for the draw, shards computed here, the merged gradient's sum, and its step. */
import type { Coordinator, Effect, Input } from '@starling/coordinator';
import { SwarmError } from '@starling/protocol';
import type { Auditor } from './audits/auditor.ts';
import { gradientOwner } from './blob-owners.ts';
import type { Blobs } from './blobs.ts';
import { Queues } from './queues.ts';
import type { Reductions } from './reductions.ts';
import type { StageStates } from './stage-states.ts';

type Of<T extends Effect['type']> = Extract<Effect, { type: T }>;
export type MergeEffect = Of<'draw' | 'recompute' | 'sum' | 'apply'>;

export interface MergeParts {
  coordinator: Coordinator;
  states: StageStates;
  reductions: Reductions;
  blobs: Blobs;
  /** Null where nothing is audited. */
  auditor: Auditor | null;
  submit(input: Input): Promise<unknown>;
  fault(error: unknown): void;
  /** False once the run is closed. */
  isOpen(): boolean;
}

const RETRY_MS = 1_000;

export class Merges {
  private readonly parts: MergeParts;
  /** One task of a stage after the other. */
  private readonly queues: Queues<number>;

  constructor(parts: MergeParts) {
    this.parts = parts;
    this.queues = new Queues(parts.fault);
  }

  /** Tried again until it works: a full disk must not stop a stage for good. */
  carryOut(effect: MergeEffect): void {
    const { stage, version, type } = effect;
    const { coordinator, fault, isOpen } = this.parts;
    this.queues.add(stage, async () => {
      try {
        await this.attempt(effect);
      } catch (error) {
        if (!isOpen()) return; // the next process does it again
        const trouble = SwarmError.from(error);
        if (trouble.code !== 'STORE_FAILED') throw trouble;
        fault(trouble);
        setTimeout(() => {
          const now = coordinator.stage(stage);
          if (isOpen() && (type === 'apply' ? now.version : now.merge.version) === version) this.carryOut(effect);
        }, RETRY_MS);
      }
    });
  }

  private attempt(effect: MergeEffect): Promise<void> {
    switch (effect.type) {
      case 'draw':
        return this.draw(effect);
      case 'recompute':
        return this.recompute(effect);
      case 'sum':
        return this.sum(effect);
      case 'apply':
        return this.apply(effect);
    }
  }

  private async draw({ stage, version, over }: Of<'draw'>): Promise<void> {
    const { coordinator, auditor, reductions, submit } = this.parts;
    const { merge } = coordinator.stage(stage);
    if (merge.version === version) await auditor?.draw(stage, version, merge.contributions);
    await submit({ type: 'seed', stage, version, ...(await reductions.seeds(over)) });
  }

  private async recompute({ stage, version, round, ...task }: Of<'recompute'>): Promise<void> {
    const { coordinator, reductions, blobs, submit } = this.parts;
    const { merge } = coordinator.stage(stage);
    if (merge.version !== version) return;
    const { shard } = task;
    const hash = await blobs.putDurably(reductions.reduce(stage, task, merge.shards), gradientOwner(stage, version));
    await submit({ type: 'recomputed', stage, version, round, shard, hash });
  }

  private async sum({ stage, version, shards, tokens }: Of<'sum'>): Promise<void> {
    const { coordinator, states, submit } = this.parts;
    if (coordinator.stage(stage).merge.version !== version) return;
    await submit({ type: 'summed', stage, version, ...states.sum(stage, version, shards, tokens) });
  }

  private async apply({ stage, summed, clipNorm }: Of<'apply'>): Promise<void> {
    const { states, submit } = this.parts;
    await submit({ type: 'merged', stage, ...(await states.apply(stage, summed, clipNorm)) });
  }
}
