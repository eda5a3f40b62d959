/** A call on its way into a block, as it is taken: by its form, and by its signature. */
import { createPublicKey, verify } from 'node:crypto';
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';
import { Call } from '../chain.ts';
import { decodeAddress, fromHex, isSr25519 } from '../identity/index.ts';
import { ChainRefusal } from '../refusals.ts';
import { fromPlain } from './plain.ts';
import { assertAccounts, type Extrinsic, payload } from './signed-call.ts';

const Signed = v.object({
  signer: v.pipe(v.string(), v.maxLength(60)),
  nonce: v.pipe(v.number(), v.integer(), v.minValue(0)),
  call: Call,
  signature: v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/, 'not 64 bytes in hex')),
});

/** Characters of what is wrong with a call: what was sent is among them, and as long as its sender likes. */
const MOST_TOLD = 200;

/** One that came from outside, as `toPlain` wrote it. Throws `BAD_MESSAGE`, and `ADDRESS_INVALID` when it names no account. */
export function parseExtrinsic(plain: unknown): Extrinsic {
  const parsed = v.safeParse(Signed, readPlain(plain), { abortEarly: true });
  if (!parsed.success) throw new SwarmError('BAD_MESSAGE', `This is no signed call: ${v.summarize(parsed.issues).slice(0, MOST_TOLD)}`);
  decodeAddress(parsed.output.signer);
  assertAccounts(parsed.output.call);
  return parsed.output;
}

/** Strangers write what they like where a bigint should be, and nest it as deep as they like. */
function readPlain(plain: unknown): unknown {
  try {
    return fromPlain(plain);
  } catch (error) {
    throw new SwarmError('BAD_MESSAGE', `This is no signed call: ${(error as Error).message}`, { cause: error });
  }
}

/** Throws `ChainRefusal` `Stale` or `Future` when the call is not its signer's next. */
export function assertNonce({ signer, nonce }: Extrinsic, next: number): void {
  if (nonce !== next) throw new ChainRefusal(nonce < next ? 'Stale' : 'Future', `The next nonce of ${signer} is ${next}, not ${nonce}.`);
}

/** Throws `ChainRefusal` `BadProof`. */
export function assertSigned(network: string, { signer, nonce, call, signature }: Extrinsic): void {
  const [text, bytes, key] = [payload(network, nonce, call), fromHex(signature) ?? new Uint8Array(), decodeAddress(signer)];
  if (!isSr25519(text, bytes, key) && !isEd25519(text, bytes, key))
    throw new ChainRefusal('BadProof', `The signature is not that of ${signer}.`);
}

/** At once, so that no other call of the signer comes in between; Web Crypto would have it wait. */
function isEd25519(text: Uint8Array, signature: Uint8Array, key: Uint8Array): boolean {
  const x = Buffer.from(key).toString('base64url');
  return verify(null, text, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }), signature);
}
