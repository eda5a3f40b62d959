/** Keys that sign as wallets and Bittensor's hotkeys do: sr25519. */
import { blake2b } from '@noble/hashes/blake2.js';
import { getPublicKey, HDKD, secretFromSeed, sign } from '@scure/sr25519';
import { SwarmError } from '@starling/protocol';
import { concat, fromHex, utf8 } from './bytes.ts';
import { encodeAddress } from './ss58.ts';

/** An account of the chain that can sign. */
export interface Signer {
  /** SS58, prefix 42. */
  readonly address: string;
  /** [32] */
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** Substrate's well-known seed, of which everybody has the keys: for development only. */
const DEVELOPMENT_SEED = '0xfac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e';
const SEED_BYTES = 32;

export class Sr25519Key implements Signer {
  readonly publicKey: Uint8Array;
  readonly address: string;
  readonly #secret: Uint8Array;

  private constructor(secret: Uint8Array) {
    this.#secret = secret;
    this.publicKey = getPublicKey(secret);
    this.address = encodeAddress(this.publicKey);
  }

  /** From a mini secret of 32 bytes, as bytes or hex. Throws `CONFIG_INVALID`. */
  static fromSeed(seed: Uint8Array | string): Sr25519Key {
    const bytes = typeof seed === 'string' ? fromHex(seed) : seed;
    if (bytes?.length !== SEED_BYTES) throw new SwarmError('CONFIG_INVALID', 'A key’s seed must be 32 bytes, in hex 64 digits.');
    return new Sr25519Key(secretFromSeed(bytes));
  }

  /** Substrate's `//name` of the development seed. */
  static development(name: string): Sr25519Key {
    return Sr25519Key.fromSeed(DEVELOPMENT_SEED).derive(name);
  }

  /** The hard junction `//name`. */
  derive(name: string): Sr25519Key {
    return new Sr25519Key(HDKD.secretHard(this.#secret, chainCode(name)));
  }

  /** [64] */
  sign(message: Uint8Array): Uint8Array {
    return sign(this.#secret, message);
  }
}

/** SCALE of the name, filled up with zeros to 32 bytes, or hashed when it is longer. */
function chainCode(name: string): Uint8Array {
  const text = utf8(name);
  if (text.length > 63) throw new SwarmError('CONFIG_INVALID', `The key name ${JSON.stringify(name)} is longer than 63 bytes.`);
  const encoded = concat(Uint8Array.of(text.length << 2), text);
  return encoded.length > 32 ? blake2b(encoded, { dkLen: 32 }) : concat(encoded, new Uint8Array(32 - encoded.length));
}
