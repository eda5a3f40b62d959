/** A call on its way into a block: signed, numbered, and good on one chain only. */

import { SwarmError, toHex } from '@starling/protocol';
import * as v from 'valibot';
import { Call } from '../chain.ts';
import { decodeAddress, fromHex, isSr25519, type Signer, utf8 } from '../identity/index.ts';
import { ChainRefusal } from '../refusals.ts';
import { fromPlain, toPlain } from './plain.ts';

export interface Extrinsic {
  signer: string;
  nonce: number;
  call: Call;
  /** sr25519, 128 hex digits. */
  signature: string;
}

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

const payload = (network: string, nonce: number, call: Call) => utf8(JSON.stringify(['starling-dev', network, nonce, toPlain(call)]));

/** Throws `BAD_MESSAGE` when it is no call, `ADDRESS_INVALID` when it names no account. */
export async function signed(network: string, nonce: number, call: Call, signer: Signer): Promise<Extrinsic> {
  const parsed = v.safeParse(Call, call);
  if (!parsed.success) throw new SwarmError('BAD_MESSAGE', `This is no call: ${v.summarize(parsed.issues)}`);
  if ('hotkey' in parsed.output) decodeAddress(parsed.output.hotkey);
  if ('to' in parsed.output) decodeAddress(parsed.output.to);
  const signature = toHex(await signer.sign(payload(network, nonce, parsed.output)));
  return { signer: signer.address, nonce, call: parsed.output, signature };
}

/** Throws `ChainRefusal` `BadProof`. */
export function assertSigned(network: string, { signer, nonce, call, signature }: Extrinsic): void {
  if (!isSr25519(payload(network, nonce, call), fromHex(signature) ?? new Uint8Array(), decodeAddress(signer)))
    throw new ChainRefusal('BadProof', `The signature is not that of ${signer}.`);
}
