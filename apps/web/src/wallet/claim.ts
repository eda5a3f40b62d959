/** What the chain paid to this browser's own key goes to the hotkey that it mines for: moved by calls that the key signs. */
import { type DeviceKey, encodeAddress } from '@starling/chain/identity';
import { RemoteDevChain } from '@starling/chain/remote';
import type { AccountView } from '@starling/protocol';
import { getJson } from '../api.ts';

/**
 * Takes out the stake, and transfers it with what was free before. Where only the first gets through, it is free, and goes the next
 * time. Throws what the chain says.
 */
export async function claim(key: DeviceKey): Promise<AccountView> {
  // As it is now: what a page shows may be an epoch old.
  const account = () => getJson<AccountView>(`/v1/identity/${key.signer.publicKey}`);
  const { own, delegation } = await account();
  const signer = { address: encodeAddress(key.publicKey), publicKey: key.publicKey, sign: (bytes: Uint8Array) => key.sign(bytes) };
  const [staked, free] = [BigInt(own!.staked), BigInt(own!.free)];
  const chain = await RemoteDevChain.open('', { pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) });
  try {
    if (staked > 0n) await chain.submit({ type: 'removeStake', hotkey: signer.address, amount: staked }, signer);
    await chain.submit({ type: 'transfer', to: delegation!.hotkey, amount: staked + free }, signer);
  } finally {
    await chain.close();
  }
  return account();
}
