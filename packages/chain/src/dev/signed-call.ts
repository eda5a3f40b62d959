/** How a call is signed. It needs no Node: a page signs with its device's key. */
import { SwarmError, toHex } from '@starling/protocol';
import * as v from 'valibot';
import { Call } from '../chain.ts';
import { decodeAddress, type Signer, utf8 } from '../identity/index.ts';
import { toPlain } from './plain.ts';

export interface Extrinsic {
  signer: string;
  nonce: number;
  call: Call;
  /** sr25519, or ed25519 as devices sign; 128 hex digits. */
  signature: string;
}

/** What is signed: good on one chain, once. */
export const payload = (network: string, nonce: number, call: Call) =>
  utf8(JSON.stringify(['starling-dev', network, nonce, toPlain(call)]));

/** Throws `ADDRESS_INVALID` when the call names what is no account. */
export function assertAccounts(call: Call): void {
  const { hotkey, to, coldkey } = call as Partial<Record<'hotkey' | 'to' | 'coldkey', string>>;
  for (const account of [hotkey, to, coldkey]) if (account !== undefined) decodeAddress(account);
}

/** Throws `BAD_MESSAGE` when it is no call, `ADDRESS_INVALID` when it names no account. */
export async function signed(network: string, nonce: number, call: Call, signer: Signer): Promise<Extrinsic> {
  const parsed = v.safeParse(Call, call);
  if (!parsed.success) throw new SwarmError('BAD_MESSAGE', `This is no call: ${v.summarize(parsed.issues)}`);
  assertAccounts(parsed.output);
  const signature = toHex(await signer.sign(payload(network, nonce, parsed.output)));
  return { signer: signer.address, nonce, call: parsed.output, signature };
}
