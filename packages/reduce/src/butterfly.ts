/**
 * The butterfly all-reduce of one stage at one version, as a pure state machine: time and chance are arguments, and it never
 * sees a number of a gradient. Commits → pairs drawn from a hash of all commits → uploads → every shard reduced by two members
 * → hashes compared → merged. docs/reduce.md has the protocol, what is proved, and what is not caught.
 *
 * It owns whose gradient is in the merge, who reduces what, and which result counts. A lost message costs a deadline, nothing
 * else: the merge ends whatever members do, as long as somebody answers `draw`, `recompute` and `spotCheck`.
 */
import { SwarmError } from '@starling/protocol';
import type { Agreement } from './agreement.ts';
import {
  closeCommits,
  closeUploads,
  closeUploadsWhenAll,
  commit,
  emitDraw,
  emitUpload,
  emitUploads,
  goneWhileCollecting,
  seed,
  spoiled,
  upload,
} from './collecting.ts';
import {
  beginRound,
  emitMerged,
  emitRecompute,
  emitReduce,
  emitReductions,
  goneWhileReducing,
  recomputed,
  replaceLate,
  result,
} from './reducing.ts';
import { type ButterflySnapshot, MergeState } from './state.ts';
import type { ButterflyConfig, ButterflyEffect, ButterflyInput, ButterflyPhase, Of } from './types.ts';

export class Butterfly {
  private readonly state: MergeState;

  private constructor(state: MergeState) {
    this.state = state;
  }

  /** `now`: Unix ms. Commits are awaited from all members. Throws `CONFIG_INVALID`. */
  static begin(config: ButterflyConfig, now: number): Butterfly {
    return new Butterfly(MergeState.begin(config, now));
  }

  static restore(snapshot: ButterflySnapshot): Butterfly {
    return new Butterfly(new MergeState(structuredClone(snapshot)));
  }

  /** All of it as plain data. It holds the commits: members × shards × 64 characters. */
  snapshot(): ButterflySnapshot {
    return this.state.snapshot();
  }

  get phase(): ButterflyPhase {
    return this.state.data.phase;
  }

  /** Members, shards and who reduces them, as they stand. */
  get view(): Readonly<Omit<ButterflySnapshot, 'agreement'>> {
    return this.state.data;
  }

  /** Of this merge; add it to the stage's. */
  get agreement(): Agreement[] {
    return this.state.agreement.export();
  }

  /** Applies one input. One of a member that does not fit yields one `refuse` and changes nothing. `now` never falls. */
  handle(input: ButterflyInput, now: number): ButterflyEffect[] {
    const { state } = this;
    state.effects = [];
    state.data.now = now;
    try {
      this.apply(input);
    } catch (error) {
      if (!(error instanceof SwarmError) || !('memberId' in input)) throw error;
      state.emit({ type: 'refuse', memberId: input.memberId, code: error.code, message: error.message });
    }
    return state.effects;
  }

  private apply(input: ButterflyInput): void {
    switch (input.type) {
      case 'commit':
        commit(this.state, input);
        break;
      case 'seed':
        seed(this.state, input);
        break;
      case 'upload':
        upload(this.state, input);
        break;
      case 'spoiled':
        spoiled(this.state, input);
        break;
      case 'result':
        result(this.state, input);
        break;
      case 'recomputed':
        recomputed(this.state, input);
        break;
      case 'left':
        this.left(input);
        break;
      case 'resumed':
        this.resumed(input);
        break;
      case 'postpone':
        this.postpone(input);
        break;
      case 'exclude':
        this.exclude(input);
        break;
      case 'restart':
        this.restart();
        break;
      case 'tick':
        this.tick();
        break;
    }
  }

  private left({ memberId }: Of<'left'>): void {
    const member = this.state.member(memberId, 'committing', 'drawing', 'uploading', 'reducing');
    member.gone = true;
    if (this.phase === 'reducing') goneWhileReducing(this.state, member);
    else goneWhileCollecting(this.state, member);
  }

  private resumed({ memberId }: Of<'resumed'>): void {
    const member = this.state.member(memberId, 'committing', 'drawing', 'uploading', 'reducing');
    if (this.phase === 'uploading') emitUpload(this.state, member);
    if (this.phase === 'reducing') emitReductions(this.state, member);
  }

  private postpone({ ms }: Of<'postpone'>): void {
    const { data } = this.state;
    data.deadline += ms;
    for (const { votes } of data.shards) for (const vote of votes) if (vote.deadline !== null) vote.deadline += ms;
  }

  private exclude({ memberId, message }: Of<'exclude'>): void {
    this.state.exclude(this.state.contributor(memberId, 'uploading', 'reducing'), 'GRADIENT_FALSE', message);
    if (this.phase === 'reducing') beginRound(this.state);
    else closeUploadsWhenAll(this.state);
  }

  private tick(): void {
    const { phase, now, deadline } = this.state.data;
    if (phase === 'reducing') replaceLate(this.state);
    if (now < deadline) return;
    if (phase === 'committing') closeCommits(this.state);
    if (phase === 'uploading') closeUploads(this.state);
  }

  private restart(): void {
    const { state } = this;
    const { data } = state;
    const { commit, upload, reduce } = data.config.deadlines;
    if (data.phase === 'committing') data.deadline = data.now + commit;
    if (data.phase === 'drawing') emitDraw(state);
    if (data.phase === 'uploading') {
      data.deadline = data.now + upload;
      emitUploads(state);
    }
    if (data.phase === 'reducing') {
      for (const shard of data.shards) {
        if (shard.recomputing) emitRecompute(state, shard);
        for (const vote of shard.votes) {
          if (vote.deadline === null) continue;
          vote.deadline = data.now + reduce;
          emitReduce(state, shard, vote.member);
        }
      }
    }
    if (data.phase === 'done') emitMerged(state);
  }
}
