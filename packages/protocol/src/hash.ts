import { SwarmError } from './errors.ts';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** The memory behind a typed array as bytes, without a copy. */
export function bytesOf(view: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
}

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/**
 * Node hashes small pieces at once, in less time than it takes to hand them to another thread and wait for the answer.
 * Larger ones would hold up everything else.
 */
const HASH_AT_ONCE = 64 * 1024;
const nodeCrypto = globalThis.process?.getBuiltinModule?.('node:crypto');

/** SHA-256 as 32 bytes. Throws `INSECURE_CONTEXT` where the browser hides Web Crypto. */
export async function sha256(view: ArrayBufferView): Promise<Uint8Array<ArrayBuffer>> {
  if (nodeCrypto && view.byteLength <= HASH_AT_ONCE) return new Uint8Array(nodeCrypto.hash('sha256', bytesOf(view), 'buffer'));
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) throw new SwarmError('INSECURE_CONTEXT', 'Web Crypto is missing on this page.');
  return new Uint8Array(await subtle.digest('SHA-256', bytesOf(view)));
}

/** SHA-256 as 64 lower-case hex digits: the name of a blob. */
export async function sha256Hex(view: ArrayBufferView): Promise<string> {
  if (nodeCrypto && view.byteLength <= HASH_AT_ONCE) return nodeCrypto.hash('sha256', bytesOf(view), 'hex');
  return toHex(await sha256(view));
}
