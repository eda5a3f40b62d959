/**
 * The orchestrator's protocol as a pure state machine: what the world said goes in, what to do comes out. Time is
 * an argument, and there is no I/O, so the same code runs behind sockets and in a test's virtual second. The ordered
 * inputs with their times are the truth: handling them again gives the same state, to the bit.
 *
 * Every stage walks its own steps: version n → (leases of step n) → collect → reduce → version n + 1. A stage waits
 * for nobody but its own microbatches; activations and gradients arriving from its neighbours drive it.
 *
 * It owns who holds which stage, every lease, and which microbatch counts. It never sees a tensor: tensors are named
 * by hash, checked by the gateway before a receipt gets here. What a lost message or miner had under way is computed again, and nothing else.
 */
import { type Reason, SwarmError } from '@starling/protocol';
import { audited, unaudited } from './audits.ts';
import { hedgeAll, tick } from './clock.ts';
import { dispatch } from './granting.ts';
import {
  closeStep,
  completeOrGoOn,
  configure,
  contribution,
  isExpected,
  merged,
  openStep,
  repeatMerges,
  spoiled,
  summed,
} from './merging.ts';
import { type Credit, type MinerRecord, NO_REPUTATION, type Reputation } from './miner.ts';
import { explainWaits, progressOf, stageReason } from './reasons.ts';
import { isReducer, recomputed, result, seed } from './reducing.ts';
import { applied, disconnect, fillEmptyStages, join, leave, ready, restart } from './roster.ts';
import { busy, receipt } from './settling.ts';
import { fromSnapshot, type Snapshot, toSnapshot } from './snapshot.ts';
import type { StageRecord } from './stage.ts';
import { type LeaseRecord, State } from './state.ts';
import type { CoordinatorConfig, Effect, Input } from './types.ts';
import { forfeit } from './useless.ts';

/** One stage as pages see it. */
export interface StageStatus {
  stage: Readonly<StageRecord>;
  reason: Reason | null;
  done: number;
  total: number;
  miners: Readonly<MinerRecord>[];
}

export class Coordinator {
  /** For the package's own tests and checks. */
  readonly state: State;

  /** `now`: Unix ms. */
  constructor(config: CoordinatorConfig, now: number) {
    this.state = new State(config, now);
    for (const stage of this.state.stages) completeOrGoOn(this.state, stage);
  }

  static restore(snapshot: Snapshot): Coordinator {
    const coordinator: Coordinator = Object.create(Coordinator.prototype);
    return Object.assign(coordinator, { state: fromSnapshot(snapshot) });
  }

  /** All of it as plain data. Equal states give equal JSON texts. */
  snapshot(): Snapshot {
    return toSnapshot(this.state);
  }

  get config(): CoordinatorConfig {
    return this.state.config;
  }

  /** Unix ms of the newest input. */
  get now(): number {
    return this.state.now;
  }

  get counters(): Readonly<State['counters']> {
    return this.state.counters;
  }

  /**
   * Applies one input. An input that does not fit yields one `refuse` effect and changes nothing but the count of
   * refusals. `now` is Unix ms and never falls.
   */
  handle(input: Input, now: number): Effect[] {
    const { state } = this;
    const idleMs = now - state.now;
    state.effects = [];
    state.now = now;
    try {
      this.apply(input, idleMs);
    } catch (error) {
      if (!(error instanceof SwarmError) || !('minerId' in input)) throw error;
      state.refuse(input.minerId, error.code, error.message, 'leaseId' in input ? input.leaseId : null);
      return state.effects;
    }
    fillEmptyStages(state);
    openStep(state);
    for (const index of [...state.touched].sort((a, b) => a - b)) {
      closeStep(state, state.stages[index]!);
      dispatch(state, state.crews[index]!);
    }
    if (input.type === 'tick') {
      hedgeAll(state);
      // Reasons are for people: with the clock, not with every input.
      explainWaits(state);
    }
    state.touched.clear();
    state.awake.clear();
    return state.effects;
  }

  /** Throws `SwarmError` before anything was changed when the input does not fit. */
  private apply(input: Input, idleMs: number): void {
    const { state } = this;
    switch (input.type) {
      case 'join':
        join(state, input);
        break;
      case 'disconnect':
        disconnect(state, input);
        break;
      case 'leave':
        leave(state, input);
        break;
      case 'ready':
        ready(state, input);
        break;
      case 'receipt':
        receipt(state, input);
        break;
      case 'forfeit':
        forfeit(state, input);
        break;
      case 'refused':
        state.known(input.minerId);
        state.refuse(input.minerId, input.code, input.message, input.leaseId);
        break;
      case 'busy':
        busy(state, input);
        break;
      case 'contribution':
        contribution(state, input);
        break;
      case 'spoiled':
        spoiled(state, input);
        break;
      case 'seed':
        seed(state, input);
        break;
      case 'result':
        result(state, input);
        break;
      case 'recomputed':
        recomputed(state, input);
        break;
      case 'summed':
        summed(state, input);
        break;
      case 'merged':
        merged(state, input);
        break;
      case 'applied':
        applied(state, input);
        break;
      case 'audited':
        audited(state, input);
        break;
      case 'unaudited':
        unaudited(state, input);
        break;
      case 'configure':
        configure(state, input);
        break;
      case 'restart':
        restart(state, idleMs);
        repeatMerges(state);
        break;
      case 'tick':
        tick(state, input);
        break;
    }
  }

  // ── views ─────────────────────────────────────────────────────────────────────────────────────

  /** A miner as it stands; undefined when it is not (any more) part of the run. */
  miner(id: string): Readonly<MinerRecord> | undefined {
    return this.state.miners.get(id);
  }

  /** What this miner has done and sent, here or not; undefined for one of which nothing ever came. */
  credit(id: string): Readonly<Credit> | undefined {
    return this.state.credits.get(id);
  }

  /** Ids of all who have a credit, here or not. */
  get credited(): Iterable<string> {
    return this.state.credits.keys();
  }

  /** Whose its work is: its device, or the miner itself. */
  ownerOf(minerId: string): string {
    return this.state.ownerOf(minerId);
  }

  /** What audits know of this miner's device. */
  reputation(minerId: string): Readonly<Reputation> {
    return this.state.reputations.get(this.ownerOf(minerId)) ?? NO_REPUTATION;
  }

  get minerCount(): number {
    return this.state.miners.size;
  }

  /** All stages as they stand. */
  view(): StageStatus[] {
    const { state } = this;
    return state.stages.map((stage) => ({
      stage,
      reason: stageReason(state, stage),
      ...progressOf(state, stage),
      miners: [...state.crews[stage.index]!.members.values()],
    }));
  }

  /** Tasks of the stage's present step whose input is there and that no miner has. */
  queueOf(stage: number): number {
    const { state } = this;
    const step = state.stepOf(state.stages[stage]!);
    if (!step) return 0;
    const { forward, backward } = step.ready[stage]!;
    const { members } = state.crews[stage]!;
    let queue = forward.length + backward.length;
    for (const [minerId, own] of step.pinned) if (members.has(minerId)) queue += own.length;
    return queue;
  }

  versionOf(stage: number): number {
    return this.state.stages[stage]!.version;
  }

  /** The stage's accepted gradients that are not merged yet, and its newest merges. */
  stage(index: number): Readonly<StageRecord> {
    return this.state.stages[index]!;
  }

  /** True while this miner's gradient of this round is awaited. */
  collectsFrom(minerId: string, stage: number, version: number, round: number): boolean {
    return isExpected(this.state, minerId, stage, version, round);
  }

  /** True while this miner's result for this shard would be taken. */
  reducesFor(of: Parameters<typeof isReducer>[1]): boolean {
    return isReducer(this.state, of);
  }

  /** A lease that may still be settled or was, so that the gateway can check its tensors before. */
  leaseOf(leaseId: string): Readonly<LeaseRecord> | undefined {
    return this.state.leases.get(leaseId);
  }
}
