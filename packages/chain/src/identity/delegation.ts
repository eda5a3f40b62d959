/**
 * What a wallet signs once, so that a device may work for its hotkey from then on without asking (docs/chain.md,
 * Identity). The text is for people to read in the wallet, and both sides make it from the fields: nothing is ever parsed
 * out of it. The device signs it, too: nobody can claim a device, and its credit, that is not theirs.
 */
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';
import { fromHex, utf8 } from './bytes.ts';
import type { Challenges } from './challenges.ts';
import { isEd25519, isSigned } from './signature.ts';
import { decodeAddress } from './ss58.ts';

/** Longer than that a lost laptop must not work in somebody's name. */
const LONGEST_MS = 30 * 24 * 3_600_000;

const line = v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,100}$/, 'not one word of plain characters'));
const hexOf = (bytes: number) => v.pipe(v.string(), v.regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`), `not ${bytes} bytes in hex`));
const time = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(8.64e15));

export const Delegation = v.object({
  /** `Chain.network` */
  network: line,
  netuid: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)),
  /** Whom it is for: the server's own name for itself. */
  server: line,
  /** SS58. */
  hotkey: line,
  /** The device's ed25519 public key. */
  device: hexOf(32),
  /** Unix ms. */
  issuedAt: time,
  expiresAt: time,
  /** Of the server's challenge. */
  nonce: hexOf(16),
});
export type Delegation = v.InferOutput<typeof Delegation>;

export const SignedDelegation = v.object({
  delegation: Delegation,
  /** As `signRaw` gives it, in hex. */
  walletSignature: v.pipe(v.string(), v.maxLength(140)),
  deviceSignature: v.pipe(v.string(), v.maxLength(140)),
});
export type SignedDelegation = v.InferOutput<typeof SignedDelegation>;

/** The first line of the text: what it is for. */
export const DELEGATION_PURPOSE = 'Starling: let this device mine for my hotkey. It moves no funds.';

/** To be signed as UTF-8, by the wallet (which wraps it) and by the device. */
export function delegationText(delegation: Delegation): string {
  const { network, netuid, server, hotkey, device, issuedAt, expiresAt, nonce } = delegation;
  return [
    DELEGATION_PURPOSE,
    `network: ${network}`,
    `netuid: ${netuid}`,
    `server: ${server}`,
    `hotkey: ${hotkey}`,
    `device: ${device}`,
    `issued: ${new Date(issuedAt).toISOString()}`,
    `expires: ${new Date(expiresAt).toISOString()}`,
    `nonce: ${nonce}`,
  ].join('\n');
}

export interface Expected {
  network: string;
  netuid: number;
  server: string;
}

/**
 * Takes a delegation at its word, or throws: `BAD_MESSAGE` (not of this form), `DELEGATION_WRONG_NETWORK`,
 * `DELEGATION_WRONG_SERVER`, `DELEGATION_EXPIRED`, `DELEGATION_REPLAYED`, `ADDRESS_INVALID`, `SIGNATURE_INVALID`. What costs nothing
 * to check comes first, signatures last: a wallet's takes milliseconds, and is looked at once for each challenge, which is used up
 * whether it fits or not. `now`: Unix ms. `assertMay` throws when this hotkey may not be worked for.
 */
export async function acceptDelegation(
  signed: unknown,
  expected: Expected,
  challenges: Challenges,
  now: number,
  assertMay: (hotkey: string) => Promise<void> = async () => {},
): Promise<Delegation> {
  const parsed = parseDelegation(signed, expected, now);
  const { hotkey, nonce, issuedAt } = parsed.delegation;
  await assertMay(hotkey);
  if (challenges.redeem(nonce, now) !== issuedAt) throw new SwarmError('DELEGATION_REPLAYED', 'The challenge was issued at another time.');
  return assertSigned(parsed);
}

/** The same for whoever did not give the challenge: signatures, receiver and time. Throws as `acceptDelegation` does. */
export async function checkDelegation(signed: unknown, expected: Expected, now: number): Promise<Delegation> {
  return assertSigned(parseDelegation(signed, expected, now));
}

/** Everything but the signatures. */
function parseDelegation(signed: unknown, expected: Expected, now: number): SignedDelegation {
  const parsed = v.safeParse(SignedDelegation, signed);
  if (!parsed.success) throw new SwarmError('BAD_MESSAGE', `This is no signed delegation: ${v.summarize(parsed.issues)}`);
  const { delegation } = parsed.output;
  assertFor(delegation, expected);
  assertFresh(delegation, now);
  return parsed.output;
}

/** The device's first: Web Crypto checks it, in no time of ours. */
async function assertSigned({ delegation, walletSignature, deviceSignature }: SignedDelegation): Promise<Delegation> {
  const [text, hotkey] = [utf8(delegationText(delegation)), decodeAddress(delegation.hotkey)];
  if (!(await isEd25519(text, signatureBytes(deviceSignature), fromHex(delegation.device)!)))
    throw new SwarmError('SIGNATURE_INVALID', 'The device did not sign what the wallet signed.');
  if (!(await isSigned(text, signatureBytes(walletSignature), hotkey)))
    throw new SwarmError('SIGNATURE_INVALID', `The signature is not that of ${delegation.hotkey}.`);
  return delegation;
}

function assertFor({ network, netuid, server }: Delegation, expected: Expected): void {
  if (network !== expected.network || netuid !== expected.netuid)
    throw new SwarmError(
      'DELEGATION_WRONG_NETWORK',
      `It is for subnet ${netuid} of ${network}; this is ${expected.netuid} of ${expected.network}.`,
    );
  if (server !== expected.server)
    throw new SwarmError('DELEGATION_WRONG_SERVER', `It is for the server ${server}; this is ${expected.server}.`);
}

function assertFresh({ issuedAt, expiresAt }: Delegation, now: number): void {
  if (now >= expiresAt) throw new SwarmError('DELEGATION_EXPIRED', `It was good until ${new Date(expiresAt).toISOString()}.`);
  if (expiresAt - issuedAt > LONGEST_MS) throw new SwarmError('DELEGATION_EXPIRED', 'It would last longer than 30 days.');
}

/** Empty when it is no hex, which no signature is. */
const signatureBytes = (text: string) => fromHex(text) ?? new Uint8Array();
