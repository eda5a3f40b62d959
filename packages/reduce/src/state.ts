/** Everything one merge knows, as plain data, and the few questions and changes that all its phases share. */
import { type ErrorCode, SwarmError } from '@starling/protocol';
import { type Agreement, AgreementMatrix } from './agreement.ts';
import { CODECS } from './codecs.ts';
import { alignmentOf, cutShards, type Shard } from './shards.ts';
import type { ButterflyConfig, ButterflyEffect, ButterflyPhase } from './types.ts';

export interface MemberRecord {
  id: string;
  tokens: number;
  /** It contributes, and reduces nothing. */
  absent: boolean;
  /** Hash of every shard. */
  commit: string[] | null;
  /** Σx² of every shard that is there. */
  squares: (number | null)[];
  /** Shards that are not there yet. */
  missing: number;
  gone: boolean;
  /** It missed the deadline of a reduction and has not been heard of since: nothing new is asked of it. */
  silent: boolean;
  /** Why its gradient is left out. */
  excluded: { code: ErrorCode; message: string } | null;
  /** It reported a false result. */
  liar: boolean;
  /** Numbers it was asked to reduce in this round. */
  load: number;
}

/** One reducer of one shard. */
export interface Vote {
  /** Index of the member. */
  member: number;
  /** Until when it is awaited; null once it answered or was replaced. */
  deadline: number | null;
  hash: string | null;
}

export interface ShardRecord extends Shard {
  /** Drawn first. */
  pair: number[];
  /** To be computed again although its reducers agree. */
  spot: boolean;
  /** Everybody asked in this round. */
  votes: Vote[];
  /** The orchestrator was asked, and why. */
  recomputing: 'disagreement' | 'lost' | 'spotCheck' | null;
  /** The hash that counts. */
  settled: string | null;
  /** `settled` is what the orchestrator computed. */
  proven: boolean;
}

/** Equal states give equal JSON texts. */
export interface ButterflySnapshot {
  /** Changes when a state of before cannot be read any more. */
  format: 1;
  config: ButterflyConfig;
  phase: ButterflyPhase;
  /** End of the present phase, where it has one. */
  deadline: number;
  now: number;
  round: number;
  members: MemberRecord[];
  shards: ShardRecord[];
  /** Members in the order drawn. */
  order: number[];
  /** Of this round's contributors: what their numbers are multiplied with. */
  scales: number[];
  agreement: Agreement[];
}

export class MergeState {
  readonly data: ButterflySnapshot;
  readonly agreement: AgreementMatrix;
  /** Of the input being handled. */
  effects: ButterflyEffect[] = [];

  constructor(data: ButterflySnapshot) {
    this.data = data;
    this.agreement = new AgreementMatrix(data.agreement);
  }

  static begin(config: ButterflyConfig, now: number): MergeState {
    const { members, parameters, codec, merged, deadlines } = config;
    if (members.length === 0) throw new SwarmError('CONFIG_INVALID', 'A merge needs a member.');
    if (new Set(members.map(({ id }) => id)).size !== members.length || members.some(({ tokens }) => !(tokens > 0))) {
      throw new SwarmError('CONFIG_INVALID', 'Members of a merge have ids of their own and cover at least one token.');
    }
    const shards = cutShards(parameters, config.shards, alignmentOf(CODECS[codec], CODECS[merged]));
    return new MergeState({
      format: 1,
      config,
      phase: 'committing',
      deadline: now + deadlines.commit,
      now,
      round: config.after ?? 0,
      members: members.map(({ id, tokens, absent = false }) => ({
        ...{ id, tokens, absent, commit: null, squares: shards.map(() => null), missing: shards.length },
        ...{ gone: false, silent: false, excluded: null, liar: false, load: 0 },
      })),
      shards: shards.map((shard) => ({
        ...{ ...shard, pair: [], spot: false, votes: [], recomputing: null, settled: null, proven: false },
      })),
      order: [],
      scales: [],
      agreement: [],
    });
  }

  snapshot(): ButterflySnapshot {
    return structuredClone({ ...this.data, agreement: this.agreement.export() });
  }

  emit(effect: ButterflyEffect): void {
    this.effects.push(effect);
  }

  /** Throws `MERGE_UNEXPECTED` for somebody whose gradient is not, or no longer, in this merge, and in another phase. */
  contributor(id: string, ...phases: ButterflyPhase[]): MemberRecord {
    const { phase, members } = this.data;
    const member = members.find((other) => other.id === id);
    if (!member || member.excluded) throw unexpected(`${id} is not, or no longer, part of it`);
    if (!phases.includes(phase)) throw unexpected(`it is ${phase}`);
    return member;
  }

  /** Throws `MERGE_UNEXPECTED` as `contributor`, and for somebody who left. */
  member(id: string, ...phases: ButterflyPhase[]): MemberRecord {
    const member = this.contributor(id, ...phases);
    if (member.gone) throw unexpected(`${id} left it`);
    return member;
  }

  /** Throws `MERGE_UNEXPECTED`. */
  shard(index: number): ShardRecord {
    const shard = this.data.shards[index];
    if (!shard) throw unexpected(`it has no shard ${index}`);
    return shard;
  }

  /** Those whose gradients are, or may yet be, in this merge, in the order they are added. */
  contributors(): MemberRecord[] {
    return this.data.members.filter(({ excluded }) => !excluded);
  }

  exclude(member: MemberRecord, code: ErrorCode, message: string): void {
    member.excluded = { code, message };
    this.emit({ type: 'excluded', memberId: member.id, code, message });
  }

  /** Nobody is left: true, and the merge is over. */
  failIfEmpty(): boolean {
    if (this.contributors().length > 0) return false;
    this.data.phase = 'failed';
    this.emit({ type: 'failed', code: 'MERGE_EMPTY', message: `No gradient of stage ${this.data.config.stage} is left to merge.` });
    return true;
  }
}

export const unexpected = (why: string) => new SwarmError('MERGE_UNEXPECTED', `The merge does not await this: ${why}.`);

export const isHash = (text: unknown) => typeof text === 'string' && /^[0-9a-f]{64}$/.test(text);
