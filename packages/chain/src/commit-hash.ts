/** The hash that commits to weights before they are shown. */
import { blake2b } from '@noble/hashes/blake2.js';
import { toHex } from '@starling/protocol';
import { concat } from './identity/bytes.ts';
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
  const vectors = [uids, weights, salt].flatMap((values) => [compact(values.length), words(values)]);
  return toHex(blake2b(concat(decodeAddress(hotkey), littleEndian(netuid, 2), ...vectors, littleEndian(version, 8)), { dkLen: 32 }));
}

/** Little-endian u16. A block may hold many of the longest, so no array is made of each. */
function words(values: readonly number[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(2 * values.length));
  for (const [i, value] of values.entries()) bytes.setUint16(2 * i, value, true);
  return new Uint8Array(bytes.buffer);
}

function littleEndian(value: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);
}

/** SCALE's compact integer, below 2^30: as long as a vector is. */
function compact(length: number): Uint8Array {
  if (length < 64) return Uint8Array.of(length << 2);
  if (length < 16_384) return littleEndian(length * 4 + 1, 2);
  return littleEndian(length * 4 + 2, 4);
}
