/** Whether a signature fits, in every form in which wallets give one. */
import { verify as verifySr25519 } from '@scure/sr25519';
import { concat, utf8 } from './bytes.ts';

const SIGNATURE_BYTES = 64;
/** Of `MultiSignature`, which puts the kind of key before the signature. */
const KINDS = { ed25519: 0, sr25519: 1 };

/**
 * Wallets wrap what a page has them sign in this, so that it can never be a transaction (polkadot-js, extension-base,
 * `RequestBytesSign`).
 */
export const wrapBytes = (message: Uint8Array): Uint8Array<ArrayBuffer> => concat(utf8('<Bytes>'), message, utf8('</Bytes>'));

/**
 * Whether `signature` is of `message`, plain or wrapped in `<Bytes>`, by this key: sr25519 or ed25519. Of 64 bytes, or
 * 65 with the kind of key first. Never throws.
 */
export async function isSigned(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): Promise<boolean> {
  const typed = signature.length === SIGNATURE_BYTES + 1;
  const kind = typed ? signature[0] : null;
  const bare = typed ? signature.subarray(1) : signature;
  if (bare.length !== SIGNATURE_BYTES) return false;
  for (const form of [wrapBytes(message), message]) {
    if ((kind === null || kind === KINDS.sr25519) && isSr25519(form, bare, publicKey)) return true;
    if ((kind === null || kind === KINDS.ed25519) && (await isEd25519(form, bare, publicKey))) return true;
  }
  return false;
}

export function isSr25519(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean {
  try {
    return verifySr25519(message, signature, publicKey);
  } catch {
    return false; // not a signature, or not a key
  }
}

export async function isEd25519(message: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey('raw', Uint8Array.from(publicKey), 'Ed25519', false, ['verify']);
    return await crypto.subtle.verify('Ed25519', key, Uint8Array.from(signature), Uint8Array.from(message));
  } catch {
    return false;
  }
}
