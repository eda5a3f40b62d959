/** What crosses between virtual miners and the virtual server: the protocol's messages without tensors. */
import type { GrantedLease, Merge } from '@starling/coordinator';
import type { ErrorCode } from '@starling/protocol';

export type Command =
  | { name: 'assign'; stage: number; round: number; version: number; parameterHash: string }
  | { name: 'lease'; lease: GrantedLease }
  | { name: 'cancel'; leaseId: string }
  | { name: 'collect'; stage: number; version: number; round: number; microbatches: number[] }
  | { name: 'merge'; stage: number; merge: Merge };

export type Request =
  | { name: 'hello'; holding: { stage: number; version: number } | null }
  | { name: 'ready'; stage: number; round: number; version: number; parameterHash: string }
  /** `useless`: what the gateway would find when it looks at the tensors. */
  | { name: 'receipt'; leaseId: string; useless: boolean }
  | { name: 'busy'; leaseId: string; pauseMs: number }
  | { name: 'contribution'; stage: number; version: number; round: number; microbatches: number[]; gradient: string; useless: boolean }
  | { name: 'applied'; stage: number; version: number; parameterHash: string }
  | { name: 'leave' };

export type Reply = { ok: true; counted: boolean } | { ok: false; code: ErrorCode };

/** A gradient sum is named by what is in it, so that whoever merges it can see whether that is right. */
export const gradientOf = (stage: number, version: number, microbatches: readonly number[]) => `${stage}@${version}:${microbatches}`;

/** Parameters after a merge: what they were and what was added, in 64 bits (FNV-1a over UTF-16). */
export function parametersAfter(before: string, gradient: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const character of `${before}|${gradient}`) hash = BigInt.asUintN(64, (hash ^ BigInt(character.charCodeAt(0))) * 0x100000001b3n);
  return hash.toString(16);
}
