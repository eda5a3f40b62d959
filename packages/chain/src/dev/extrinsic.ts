/** A call on its way into a block, as it is taken: by its form, and by its signature. */
import { createPublicKey, verify } from 'node:crypto';
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';
import { Call } from '../chain.ts';
import { decodeAddress, fromHex, isSr25519 } from '../identity/index.ts';
import { ChainRefusal } from '../refusals.ts';
import { fromPlain } from './plain.ts';
import { type Extrinsic, payload } from './signed-call.ts';

const Signed = v.object({
  signer: v.pipe(v.string(), v.maxLength(60)),
  nonce: v.pipe(v.number(), v.integer(), v.minValue(0)),
  call: Call,
  signature: v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/, 'not 64 bytes in hex')),
});

/** One that came from outside, as `toPlain` wrote it. Throws `BAD_MESSAGE`. */
export function parseExtrinsic(plain: unknown): Extrinsic {
  const parsed = v.safeParse(Signed, fromPlain(plain));
  if (!parsed.success) throw new SwarmError('BAD_MESSAGE', `This is no signed call: ${v.summarize(parsed.issues)}`);
  return parsed.output;
}

/** Throws `ChainRefusal` `BadProof`. */
export function assertSigned(network: string, { signer, nonce, call, signature }: Extrinsic): void {
  const [text, bytes, key] = [payload(network, nonce, call), fromHex(signature) ?? new Uint8Array(), decodeAddress(signer)];
  if (!isSr25519(text, bytes, key) && !isEd25519(text, bytes, key))
    throw new ChainRefusal('BadProof', `The signature is not that of ${signer}.`);
}

/** At once, as a block is made; Web Crypto would have it wait. */
function isEd25519(text: Uint8Array, signature: Uint8Array, key: Uint8Array): boolean {
  const x = Buffer.from(key).toString('base64url');
  return verify(null, text, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }), signature);
}
