/** The hash that commits to weights before they are shown. */
import { blake2b } from '@noble/hashes/blake2.js';
import { toHex } from '@starling/protocol';
import { decodeAddress } from './identity/index.ts';

export interface Revealed {
  hotkey: string;
  netuid: number;
  uids: readonly number[];
  weights: readonly number[];
  salt: readonly number[];
  version: number;
}

/** Blake2b-256 of SCALE (hotkey, netuid u16, uids, weights, salt as Vec<u16>, version u64): `get_commit_hash`, weights.rs. */
export function commitHash({ hotkey, netuid, uids, weights, salt, version }: Revealed): string {
  const vectors = [uids, weights, salt].flatMap((values) => [
    ...compact(values.length),
    ...values.flatMap((value) => littleEndian(value, 2)),
  ]);
  const bytes = [...decodeAddress(hotkey), ...littleEndian(netuid, 2), ...vectors, ...littleEndian(version, 8)];
  return toHex(blake2b(Uint8Array.from(bytes), { dkLen: 32 }));
}

function littleEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);
}

/** SCALE's compact integer, below 2^30: as long as a vector is. */
function compact(length: number): number[] {
  if (length < 64) return [length << 2];
  if (length < 16_384) return littleEndian(length * 4 + 1, 2);
  return littleEndian(length * 4 + 2, 4);
}
