/** Whether a device said what it is said to have said. */
import { type DeviceMessage, deviceText, SwarmError } from '@starling/protocol';
import { fromHex, utf8 } from './bytes.ts';
import type { Delegation } from './delegation.ts';
import { isEd25519 } from './signature.ts';

/**
 * Throws `SIGNATURE_INVALID` when this device (ed25519 public key in hex) did not sign this, for this server; `BAD_MESSAGE` when
 * it is no message. The subject makes a repetition visible: whoever keeps leases refuses it.
 */
export async function assertFromDevice(device: string, message: DeviceMessage, signature: string): Promise<void> {
  const [key, bytes] = [fromHex(device), fromHex(signature)];
  if (!key || !bytes || !(await isEd25519(utf8(deviceText(message)), bytes, key)))
    throw new SwarmError('SIGNATURE_INVALID', `The signature of this ${message.purpose} is not that of its device for this server.`);
}

/** What a device signs to end a delegation, and work for itself again. */
export const unlinkMessage = ({ server, nonce, device }: Pick<Delegation, 'server' | 'nonce' | 'device'>): DeviceMessage => ({
  purpose: 'unlink',
  server,
  subject: nonce,
  sha256: device,
});
