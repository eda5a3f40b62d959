/** What a device signs itself, with no window popping up: its receipts (docs/chain.md, Identity). */
import { SwarmError } from './errors.ts';
import { sha256Hex } from './hash.ts';
import type { Receipt } from './messages.ts';

/** One thing said by a device. */
export interface DeviceMessage {
  /** What it is: `receipt`, say. */
  purpose: string;
  /** Whom it is for: the server's own name for itself. */
  server: string;
  /** What it is about, unique within its purpose: the lease's id. So a repetition is known, and does nothing. */
  subject: string;
  /** SHA-256 of the content, 64 hex digits. */
  sha256: string;
}

/** A device's key, wherever it is kept. */
export interface DeviceSigner {
  /** ed25519 public key, 64 hex digits. */
  readonly publicKey: string;
  /** The signature over the text's UTF-8, 128 hex digits. */
  sign(text: string): Promise<string>;
}

/** To be signed as UTF-8. The fields are joined by a character that none of them holds. */
export function deviceText({ purpose, server, subject, sha256 }: DeviceMessage): string {
  const fields = [purpose, server, subject, sha256];
  if (fields.some((field) => /[^\x21-\x7e]/.test(field) || field === ''))
    throw new SwarmError('BAD_MESSAGE', 'A field of a device message is empty or holds more than plain characters.');
  return ['starling-device-1', ...fields].join('\n');
}

/** What a device signs of a receipt: which lease, from which input, and what came of it. */
export async function receiptMessage(
  server: string,
  { leaseId, inputHash, outputHash, lossSum }: Pick<Receipt, 'leaseId' | 'inputHash' | 'outputHash' | 'lossSum'>,
): Promise<DeviceMessage> {
  const content = new TextEncoder().encode([inputHash, outputHash ?? '-', lossSum ?? '-'].join('\n'));
  return { purpose: 'receipt', server, subject: leaseId, sha256: await sha256Hex(content) };
}
