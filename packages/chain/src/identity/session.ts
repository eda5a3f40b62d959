/** What a device signs itself, with no window popping up: its receipts. */
import { SwarmError } from '@starling/protocol';
import { fromHex, utf8 } from './bytes.ts';
import type { Delegation } from './delegation.ts';
import { isEd25519 } from './signature.ts';

/** A device that is known to the server; a guest's has no hotkey yet. */
export interface Session {
  server: string;
  /** ed25519 public key, 64 hex digits. */
  device: string;
  hotkey: string | null;
  /** Unix ms; null: no end. */
  expiresAt: number | null;
}

export const guestSession = (server: string, device: string): Session => ({ server, device, hotkey: null, expiresAt: null });

/** The same device, now for a hotkey: what it has earned as a guest goes with it. */
export const delegatedSession = ({ server, device, hotkey, expiresAt }: Delegation): Session => ({ server, device, hotkey, expiresAt });

/** One thing said by a device. */
export interface DeviceMessage {
  /** What it is: `receipt`, say. */
  purpose: string;
  /** Whom it is for. */
  server: string;
  /** What it is about, unique within its purpose: the lease's id. So a repetition is known, and does nothing. */
  subject: string;
  /** SHA-256 of the content, 64 hex digits. */
  sha256: string;
}

/** To be signed as UTF-8. The fields are joined by a character that none of them holds. */
export function deviceText({ purpose, server, subject, sha256 }: DeviceMessage): string {
  const fields = [purpose, server, subject, sha256];
  if (fields.some((field) => /[^\x21-\x7e]/.test(field) || field === ''))
    throw new SwarmError('BAD_MESSAGE', 'A field of a device message is empty or holds more than plain characters.');
  return ['starling-device-1', ...fields].join('\n');
}

/**
 * Whether this device said that to this server. Throws `BAD_MESSAGE`, `DELEGATION_WRONG_SERVER`, `DELEGATION_EXPIRED` or
 * `SIGNATURE_INVALID`. `now`: Unix ms.
 */
export async function assertFromDevice(session: Session, message: DeviceMessage, signature: Uint8Array, now: number): Promise<void> {
  if (message.server !== session.server)
    throw new SwarmError('DELEGATION_WRONG_SERVER', `It is for the server ${message.server}; this is ${session.server}.`);
  if (session.expiresAt !== null && now >= session.expiresAt)
    throw new SwarmError('DELEGATION_EXPIRED', `The delegation was good until ${new Date(session.expiresAt).toISOString()}.`);
  if (!(await isEd25519(utf8(deviceText(message)), signature, fromHex(session.device)!)))
    throw new SwarmError('SIGNATURE_INVALID', 'The signature is not that of this device.');
}
