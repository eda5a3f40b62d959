/** What crosses between virtual miners and the virtual server: the protocol's messages without tensors. */
import type { Effect, GrantedLease, Merge } from '@starling/coordinator';
import type { ErrorCode } from '@starling/protocol';

export type Command =
  | { name: 'assign'; stage: number; round: number; version: number; parameterHash: string }
  | { name: 'lease'; lease: GrantedLease }
  | { name: 'cancel'; leaseId: string }
  | { name: 'collect'; stage: number; version: number; round: number; microbatches: number[]; shards: number }
  | ({ name: 'reduce'; stage: number; version: number; round: number } & Task)
  | { name: 'merge'; stage: number; merge: Merge };

export type Request =
  | { name: 'hello'; holding: { stage: number; version: number } | null }
  | { name: 'ready'; stage: number; round: number; version: number; parameterHash: string }
  /** `useless`: what the gateway would find when it looks at the tensors. */
  | { name: 'receipt'; leaseId: string; useless: boolean }
  | { name: 'busy'; leaseId: string; pauseMs: number }
  | { name: 'contribution'; stage: number; version: number; round: number; microbatches: number[]; hashes: string[]; useless: boolean }
  | { name: 'result'; stage: number; version: number; round: number; shard: number; hash: string }
  | { name: 'applied'; stage: number; version: number; parameterHash: string }
  | { name: 'leave' };

export type Reply = { ok: true; counted: boolean } | { ok: false; code: ErrorCode };

/** What bytes are named by here: 64 hex digits that follow from a text (FNV-1a over UTF-16, eight times). */
export function digest(text: string): string {
  let digits = '';
  for (let i = 0; i < 8; i++) {
    let hash = 0x811c9dc5 ^ (i * 0x9e3779b1);
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    digits += (hash >>> 0).toString(16).padStart(8, '0');
  }
  return digits;
}

/** The shards of a gradient sum are named by what is in it, so that whoever merges it can see whether that is right. */
export const gradientOf = (stage: number, version: number, microbatches: readonly number[], shards: number) =>
  Array.from({ length: shards }, (_, shard) => digest(`${stage}@${version}:${microbatches} ${shard}`));

export type Task = Pick<Extract<Effect, { type: 'recompute' }>, 'shard' | 'contributions'>;

/** What an honest reducer gets. */
export const reducedOf = ({ shard, contributions }: Task) =>
  digest(JSON.stringify([shard, contributions.map(({ hash, scale }) => [hash, scale])]));

/** Parameters after a merge: what they were and what was added. */
export const parametersAfter = (before: string, { shards, clipNorm }: Pick<Merge, 'shards' | 'clipNorm'>) =>
  digest(`${before}|${shards} ÷ ${clipNorm}`);
