/** Every shard is reduced by two members; their hashes are compared; whoever lied is named. */
import { SwarmError } from '@starling/protocol';
import { clipScales } from './reduction.ts';
import { isHash, type MemberRecord, type MergeState, type ShardRecord, unexpected, type Vote } from './state.ts';
import type { Of, ReductionTask } from './types.ts';

/** The reductions begin, or begin again without somebody whose gradient is left out now. */
export function beginRound(state: MergeState): void {
  if (state.failIfEmpty()) return;
  const { data } = state;
  data.phase = 'reducing';
  data.round += 1;
  data.scales = scalesOf(state);
  for (const member of data.members) member.load = 0;
  for (const shard of data.shards) {
    Object.assign(shard, { votes: [], recomputing: null, settled: null, proven: false } satisfies Partial<ShardRecord>);
    for (const member of shard.pair) if (isReducer(data.members[member]!)) ask(state, shard, member);
  }
  advanceAll(state);
}

/** Those who may be asked: their own gradient is in the merge, they are here, and they never lied. */
const isReducer = ({ gone, silent, excluded, liar, absent }: MemberRecord) => !gone && !silent && !excluded && !liar && !absent;

function ask(state: MergeState, shard: ShardRecord, member: number): void {
  const { now, config, members } = state.data;
  shard.votes.push({ member, deadline: now + config.deadlines.reduce, hash: null });
  members[member]!.load += shard.length;
  emitReduce(state, shard, member);
}

export function emitReduce(state: MergeState, shard: ShardRecord, member: number): void {
  state.emit({ type: 'reduce', memberId: state.data.members[member]!.id, ...taskOf(state, shard) });
}

/** What is asked of this member and not answered, again. */
export function emitReductions(state: MergeState, member: MemberRecord): void {
  const index = state.data.members.indexOf(member);
  for (const shard of state.data.shards) {
    if (shard.votes.some((vote) => vote.member === index && vote.deadline !== null)) emitReduce(state, shard, index);
  }
}

function taskOf(state: MergeState, shard: ShardRecord): ReductionTask {
  const { round, shards, scales } = state.data;
  const index = shards.indexOf(shard);
  const contributions = state.contributors().map(({ id, commit }, i) => ({ memberId: id, hash: commit![index]!, scale: scales[i]! }));
  return { round, shard: index, contributions };
}

/** Contributions are clipped by their norms per token: of whole gradients, as measured on what was uploaded. */
function scalesOf(state: MergeState): number[] {
  const { clip, means } = state.data.config;
  const contributors = state.contributors();
  const total = contributors.reduce((sum, { tokens }) => sum + tokens, 0);
  const norms = contributors.map(
    ({ squares, tokens }) => Math.sqrt(squares.reduce<number>((sum, part) => sum + part!, 0)) / (means ? 1 : tokens),
  );
  const scales = clipScales(norms, clip);
  return means ? scales.map((scale, i) => (scale * contributors[i]!.tokens) / total) : scales;
}

function advanceAll(state: MergeState): void {
  for (const shard of state.data.shards) advance(state, shard);
  finishWhenSettled(state);
}

/** Decides what a shard needs next, if anything. */
function advance(state: MergeState, shard: ShardRecord): void {
  if (shard.settled !== null || shard.recomputing) return;
  const answers = shard.votes.filter(({ hash }) => hash !== null);
  if (answers.length >= 2) {
    if (answers.some(({ hash }) => hash !== answers[0]!.hash)) recompute(state, shard, 'disagreement');
    else if (shard.spot) recompute(state, shard, 'spotCheck');
    else shard.settled = answers[0]!.hash;
    return;
  }
  let awaited = shard.votes.filter(({ deadline }) => deadline !== null).length;
  for (; answers.length + awaited < 2; awaited++) {
    const next = redraw(state, shard);
    if (next === undefined) break;
    ask(state, shard, next);
  }
  if (awaited === 0) recompute(state, shard, 'lost');
}

/** Who takes the place of a reducer that is gone: the one with the least to do, the first in the order drawn. */
function redraw(state: MergeState, shard: ShardRecord): number | undefined {
  const { order, members, config } = state.data;
  if (shard.votes.length >= 2 + config.redraws) return undefined;
  let best: number | undefined;
  for (const index of order) {
    if (!isReducer(members[index]!) || shard.votes.some(({ member }) => member === index)) continue;
    if (best === undefined || members[index]!.load < members[best]!.load) best = index;
  }
  return best;
}

function recompute(state: MergeState, shard: ShardRecord, why: NonNullable<ShardRecord['recomputing']>): void {
  shard.recomputing = why;
  emitRecompute(state, shard);
}

export function emitRecompute(state: MergeState, shard: ShardRecord): void {
  const why = shard.recomputing!;
  state.emit(why === 'spotCheck' ? { type: 'spotCheck', ...taskOf(state, shard) } : { type: 'recompute', why, ...taskOf(state, shard) });
}

/** Somebody who was replaced may still answer, and counts if the shard is not settled. */
export function result(state: MergeState, { memberId, round, shard: index, hash }: Of<'result'>): void {
  const member = state.member(memberId, 'reducing');
  const shard = state.shard(index);
  const number = state.data.members.indexOf(member);
  const vote = shard.votes.find((other) => other.member === number);
  if (round !== state.data.round || !vote || vote.hash !== null || shard.settled !== null || member.liar) {
    throw unexpected(`shard ${index} of round ${round} is not, or no longer, with ${memberId}`);
  }
  if (!isHash(hash)) throw new SwarmError('SHARD_MALFORMED', 'A result is named by its SHA-256.');
  for (const other of shard.votes) {
    if (other.hash !== null) state.agreement.record(state.data.members[other.member]!.id, memberId, other.hash === hash);
  }
  vote.hash = hash;
  vote.deadline = null;
  member.silent = false;
  advance(state, shard);
  finishWhenSettled(state);
}

/** The truth about a shard: exact, because everybody's arithmetic is. */
export function recomputed(state: MergeState, { round, shard: index, hash }: Of<'recomputed'>): void {
  const shard = state.data.shards[index];
  if (state.data.phase !== 'reducing' || round !== state.data.round || !shard?.recomputing) return;
  if (!isHash(hash)) throw new SwarmError('INTERNAL', 'A result is named by its SHA-256.');
  Object.assign(shard, { recomputing: null, settled: hash, proven: true } satisfies Partial<ShardRecord>);
  const liars = shard.votes.filter((vote) => vote.hash !== null && vote.hash !== hash);
  for (const vote of liars) name(state, vote, index, hash);
  if (liars.length > 0 && state.data.config.excludeLiars) {
    for (const { member } of liars) {
      state.exclude(state.data.members[member]!, 'REDUCTION_FALSE', `Its result for shard ${index} is not what the uploads give.`);
    }
    beginRound(state);
    return;
  }
  for (const { member } of liars) distrust(state, member);
  advanceAll(state);
}

function name(state: MergeState, { member, hash: claimed }: Vote, shard: number, truth: string): void {
  const record = state.data.members[member]!;
  record.liar = true;
  state.emit({ type: 'liar', memberId: record.id, round: state.data.round, shard, claimed: claimed!, truth });
}

/** A liar's word counts nowhere: what rests on it is computed again, what is awaited of it goes to another. */
function distrust(state: MergeState, member: number): void {
  dismiss(state, member);
  for (const shard of state.data.shards) {
    if (shard.proven || shard.recomputing || !shard.votes.some((vote) => vote.member === member && vote.hash !== null)) continue;
    shard.settled = null;
    recompute(state, shard, 'spotCheck');
  }
}

/** Nothing more is awaited of this member. */
function dismiss(state: MergeState, member: number): void {
  for (const { votes } of state.data.shards) for (const vote of votes) if (vote.member === member) vote.deadline = null;
}

export function goneWhileReducing(state: MergeState, member: MemberRecord): void {
  dismiss(state, state.data.members.indexOf(member));
  advanceAll(state);
}

/** Reducers that did not answer in time are replaced. */
export function replaceLate(state: MergeState): void {
  const { now, members, shards } = state.data;
  for (const { votes } of shards) {
    for (const vote of votes) {
      if (vote.deadline === null || vote.deadline > now) continue;
      vote.deadline = null;
      members[vote.member]!.silent = true;
    }
  }
  advanceAll(state);
}

function finishWhenSettled(state: MergeState): void {
  const { phase, shards } = state.data;
  if (phase !== 'reducing' || shards.some(({ settled }) => settled === null)) return;
  state.data.phase = 'done';
  emitMerged(state);
}

export function emitMerged(state: MergeState): void {
  const contributors = state.contributors();
  state.emit({
    type: 'merged',
    hashes: state.data.shards.map(({ settled }) => settled!),
    contributors: contributors.map(({ id }) => id),
    tokens: contributors.reduce((sum, { tokens }) => sum + tokens, 0),
  });
}
