/**
 * Addresses: a 32-byte public key with a network prefix and a checksum, in base 58
 * (https://docs.polkadot.com/polkadot-protocol/parachain-basics/accounts/, SS58). Bittensor's prefix is 42.
 */
import { blake2b } from '@noble/hashes/blake2.js';
import { base58 } from '@scure/base';
import { SwarmError } from '@starling/protocol';
import { concat, isEqual, utf8 } from './bytes.ts';

export const BITTENSOR_PREFIX = 42;

const KEY_BYTES = 32;
const CHECKSUM_BYTES = 2;
/** Larger prefixes take two bytes; those here do not. */
const ONE_BYTE_PREFIXES = 64;

const checksum = (body: Uint8Array) => blake2b(concat(utf8('SS58PRE'), body), { dkLen: 64 }).subarray(0, CHECKSUM_BYTES);

/** The address of a public key of 32 bytes. `prefix` is below 64. */
export function encodeAddress(publicKey: Uint8Array, prefix = BITTENSOR_PREFIX): string {
  const body = concat(Uint8Array.of(prefix), publicKey);
  return base58.encode(concat(body, checksum(body)));
}

/** The public key [32] in an address of this network. Throws `ADDRESS_INVALID`. */
export function decodeAddress(address: string, prefix = BITTENSOR_PREFIX): Uint8Array<ArrayBuffer> {
  const bytes = decode(address);
  if (!bytes || bytes.length !== 1 + KEY_BYTES + CHECKSUM_BYTES || bytes[0]! >= ONE_BYTE_PREFIXES)
    throw new SwarmError('ADDRESS_INVALID', `${JSON.stringify(address.slice(0, 60))} is no SS58 address of a 32-byte key.`);
  const body = bytes.subarray(0, 1 + KEY_BYTES);
  if (!isEqual(bytes.subarray(1 + KEY_BYTES), checksum(body)))
    throw new SwarmError('ADDRESS_INVALID', `The checksum of the address ${address} is wrong.`);
  if (bytes[0] !== prefix)
    throw new SwarmError('ADDRESS_INVALID', `The address ${address} has network prefix ${bytes[0]}; here it must be ${prefix}.`);
  return Uint8Array.from(body.subarray(1));
}

function decode(address: string): Uint8Array | null {
  try {
    return base58.decode(address);
  } catch {
    return null;
  }
}
