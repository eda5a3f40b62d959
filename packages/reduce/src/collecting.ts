/** Commits come in, then the pairs are drawn from a hash of them, then the uploads come in. */
import { SwarmError, sha256Hex } from '@starling/protocol';
import { Draw } from './draw.ts';
import { drawPairs } from './pairs.ts';
import { beginRound } from './reducing.ts';
import { isHash, type MemberRecord, type MergeState, unexpected } from './state.ts';
import type { Of } from './types.ts';

export function commit(state: MergeState, { memberId, hashes }: Of<'commit'>): void {
  const member = state.member(memberId, 'committing');
  if (member.commit) throw unexpected(`${memberId} has committed already`);
  const { shards } = state.data;
  if (hashes.length !== shards.length || !hashes.every(isHash)) {
    throw new SwarmError('SHARD_MALFORMED', `A commit is ${shards.length} SHA-256 hashes; this one has ${hashes.length} entries.`);
  }
  member.commit = hashes;
  closeCommitsWhenAll(state);
}

export function closeCommitsWhenAll(state: MergeState): void {
  if (state.contributors().every((member) => member.commit)) closeCommits(state);
}

/** Whoever has not committed is left out. From here on the seed is fixed. */
export function closeCommits(state: MergeState): void {
  for (const member of state.contributors()) {
    if (!member.commit) state.exclude(member, 'CONTRIBUTION_MISSING', `${member.id} has not committed its gradient in time.`);
  }
  if (state.failIfEmpty()) return;
  state.data.phase = 'drawing';
  emitDraw(state);
}

export function emitDraw(state: MergeState): void {
  const { config, members } = state.data;
  const commits = members.flatMap(({ id, commit }) => (commit ? [[id, commit]] : []));
  state.emit({ type: 'draw', over: JSON.stringify([config.stage, config.version, commits]) });
}

/**
 * The seeds of a merge. `seed` = SHA-256 of the commits and the version, which anybody who has the commits can compute again;
 * it draws the pairs. `secretSeed` = SHA-256 of a secret of the orchestrator and `seed`; it draws what is checked.
 */
export async function seedsOf(over: string, secret: string): Promise<Omit<Of<'seed'>, 'type'>> {
  const hash = (text: string) => sha256Hex(new TextEncoder().encode(text));
  const seed = await hash(over);
  return { seed, secretSeed: await hash(`${secret}\n${seed}`) };
}

export function seed(state: MergeState, { seed, secretSeed }: Of<'seed'>): void {
  const { data } = state;
  if (data.phase !== 'drawing') return;
  if (!isHash(seed) || !isHash(secretSeed)) throw new SwarmError('INTERNAL', 'A seed is a SHA-256 in hex.');
  const candidates = data.members.flatMap(({ excluded, absent }, index) => (excluded || absent ? [] : [index]));
  const { order, pairs } = drawPairs(new Draw(seed), candidates, data.shards.length);
  const secret = new Draw(secretSeed);
  data.order = order;
  data.shards.forEach((shard, index) => {
    Object.assign(shard, { pair: pairs[index]!, spot: secret.chance(data.config.spotCheck) });
  });
  data.phase = 'uploading';
  data.deadline = data.now + data.config.deadlines.upload;
  emitUploads(state);
  // Somebody may have gone in the meantime.
  closeUploadsWhenAll(state);
}

export function emitUploads(state: MergeState): void {
  for (const member of state.contributors()) emitUpload(state, member);
}

export function emitUpload(state: MergeState, member: MemberRecord): void {
  const shards = member.squares.flatMap((known, index) => (known === null ? [index] : []));
  if (!member.gone && shards.length > 0) state.emit({ type: 'upload', memberId: member.id, shards });
}

export function upload(state: MergeState, { memberId, shard, hash, squares }: Of<'upload'>): void {
  const member = awaited(state, memberId, shard, hash);
  if (!Number.isFinite(squares) || squares < 0) throw new SwarmError('TENSOR_NOT_FINITE', `Σx² of a shard cannot be ${squares}.`);
  member.squares[shard] = squares;
  member.missing -= 1;
  closeUploadsWhenAll(state);
}

export function spoiled(state: MergeState, { memberId, shard, hash, code, message }: Of<'spoiled'>): void {
  state.exclude(awaited(state, memberId, shard, hash), code, message);
  closeUploadsWhenAll(state);
}

/** Throws `MERGE_UNEXPECTED`, or `SHARD_MISMATCH` for other bytes than those committed. */
function awaited(state: MergeState, memberId: string, index: number, hash: string): MemberRecord {
  const member = state.member(memberId, 'uploading');
  state.shard(index);
  if (member.squares[index] !== null) throw unexpected(`shard ${index} of ${memberId} is there already`);
  if (member.commit![index] !== hash)
    throw new SwarmError('SHARD_MISMATCH', `Shard ${index} of ${memberId} has another hash than committed.`);
  return member;
}

const isWhole = ({ missing }: MemberRecord) => missing === 0;

export function closeUploadsWhenAll(state: MergeState): void {
  if (state.contributors().every(isWhole)) closeUploads(state);
}

/** A gradient is in the merge with all its shards, or not at all: its tokens are counted once for all of them. */
export function closeUploads(state: MergeState): void {
  for (const member of state.contributors()) {
    if (!isWhole(member)) state.exclude(member, 'CONTRIBUTION_MISSING', `${member.id} has not uploaded all of its gradient in time.`);
  }
  beginRound(state);
}

/** A member is gone before the reductions began. What is whole stays in the merge. */
export function goneWhileCollecting(state: MergeState, member: MemberRecord): void {
  if (!isWhole(member)) state.exclude(member, 'CONTRIBUTION_MISSING', `${member.id} left before its gradient was here.`);
  const { phase } = state.data;
  if (phase === 'committing') closeCommitsWhenAll(state);
  else if (phase === 'uploading') closeUploadsWhenAll(state);
  else state.failIfEmpty();
}
