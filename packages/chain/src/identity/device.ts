/** The device's own key: small enough for a page that has no wallet. */
import { type DeviceSigner, SwarmError, toHex } from '@starling/protocol';

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

  /** As the miner's runtime and the wallet panel use it. */
  get signer(): DeviceSigner {
    return { publicKey: toHex(this.publicKey), sign: async (text) => toHex(await this.sign(new TextEncoder().encode(text))) };
  }
}
