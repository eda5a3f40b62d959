/** Keys that sign: sr25519, as wallets and Bittensor's hotkeys have them, and the browser's own ed25519 device key. */
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

/**
 * An ed25519 key that the browser (or Node) keeps and does not give out. To keep it over a reload, store `pair` in
 * IndexedDB, which takes such keys as they are.
 */
export class DeviceKey {
  readonly pair: CryptoKeyPair;
  /** [32] */
  readonly publicKey: Uint8Array;

  private constructor(pair: CryptoKeyPair, publicKey: Uint8Array) {
    this.pair = pair;
    this.publicKey = publicKey;
  }

  /** Throws `INSECURE_CONTEXT` where the browser hides Web Crypto, `DEVICE_KEY_UNSUPPORTED` where it lacks ed25519. */
  static async generate(): Promise<DeviceKey> {
    const subtle = globalThis.crypto?.subtle;
    if (!subtle) throw new SwarmError('INSECURE_CONTEXT', 'Web Crypto is missing on this page.');
    try {
      return await DeviceKey.from((await subtle.generateKey('Ed25519', false, ['sign', 'verify'])) as CryptoKeyPair);
    } catch (error) {
      throw new SwarmError('DEVICE_KEY_UNSUPPORTED', `This browser makes no ed25519 keys: ${(error as Error).message}.`, { cause: error });
    }
  }

  static async from(pair: CryptoKeyPair): Promise<DeviceKey> {
    return new DeviceKey(pair, new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey)));
  }

  /** [64] */
  async sign(message: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(await crypto.subtle.sign('Ed25519', this.pair.privateKey, Uint8Array.from(message)));
  }
}
