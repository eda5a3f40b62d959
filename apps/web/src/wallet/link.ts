/** A wallet lets this browser's device mine for one of its accounts: signed once, and taken or refused by the server. */
import { type Delegation, delegationText, unlinkMessage } from '@starling/chain/identity';
import { type AccountView, type ChallengeView, type DeviceSigner, deviceText } from '@starling/protocol';
import { postJson } from '../api.ts';
import type { OpenWallet } from './extension.ts';

/** A server takes up to thirty days. */
const LASTS_MS = 30 * 86_400_000;

/** Throws what the wallet or the server says. */
export async function link(wallet: OpenWallet, hotkey: string, device: DeviceSigner): Promise<AccountView> {
  const { network, netuid, server, nonce, issuedAt } = await postJson<ChallengeView>('/v1/identity/challenge', {});
  const delegation: Delegation = {
    network,
    netuid,
    server,
    hotkey,
    device: device.publicKey,
    issuedAt,
    expiresAt: issuedAt + LASTS_MS,
    nonce,
  };
  const text = delegationText(delegation);
  const walletSignature = await wallet.sign(hotkey, text);
  return postJson('/v1/identity/delegations', { delegation, walletSignature, deviceSignature: await device.sign(text) });
}

/** The device mines for itself again. */
export async function unlink(account: AccountView, device: DeviceSigner): Promise<AccountView> {
  const signature = await device.sign(deviceText(unlinkMessage({ ...account.delegation!, device: device.publicKey })));
  return postJson(`/v1/identity/${device.publicKey}/unlink`, { signature });
}
