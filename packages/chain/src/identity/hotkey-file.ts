/** Hotkeys as they lie on disk. */
import { SwarmError } from '@starling/protocol';
import { Sr25519Key } from './keys.ts';

/**
 * The key in a hotkey file of Bittensor's wallet (JSON with `secretSeed`, and `ss58Address` to check it by), or in one that holds
 * nothing but the seed in hex. Throws `CONFIG_INVALID`.
 */
export function hotkeyFrom(text: string): Sr25519Key {
  const { seed, address } = read(text.trim());
  const key = Sr25519Key.fromSeed(seed);
  if (address !== undefined && address !== key.address)
    throw new SwarmError('CONFIG_INVALID', `The hotkey file says that it is of ${address}, and its seed is of ${key.address}.`);
  return key;
}

function read(text: string): { seed: string; address?: string } {
  if (!text.startsWith('{')) return { seed: text };
  let file: { secretSeed?: unknown; ss58Address?: unknown };
  try {
    file = JSON.parse(text);
  } catch {
    throw new SwarmError('CONFIG_INVALID', 'The hotkey file is neither JSON nor a seed in hex.');
  }
  if (typeof file.secretSeed !== 'string') throw new SwarmError('CONFIG_INVALID', 'The hotkey file has no `secretSeed`.');
  return { seed: file.secretSeed, ...(typeof file.ss58Address === 'string' && { address: file.ss58Address }) };
}
