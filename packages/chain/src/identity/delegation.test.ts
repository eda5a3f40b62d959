import { deviceText, toHex } from '@starling/protocol';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from './bytes.ts';
import { Challenges } from './challenges.ts';
import { acceptDelegation, type Delegation, delegationText, type SignedDelegation } from './delegation.ts';
import { DeviceKey } from './device.ts';
import { Sr25519Key } from './keys.ts';
import { assertFromDevice } from './said.ts';
import { wrapBytes } from './signature.ts';

const HERE = { network: 'dev-1', netuid: 9, server: 'starling.example' };
const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
const DAY = 86_400_000;
const wallet = Sr25519Key.development('miner');

let device: DeviceKey;
let other: DeviceKey;
let challenges: Challenges;
beforeAll(async () => {
  [device, other] = [await DeviceKey.generate(), await DeviceKey.generate()];
});
beforeEach(() => {
  challenges = new Challenges((bytes) => new Uint8Array(bytes).fill(1));
});

const fresh = (changes: Partial<Delegation> = {}): Delegation => ({
  ...HERE,
  hotkey: wallet.address,
  device: toHex(device.publicKey),
  expiresAt: NOW + DAY,
  ...challenges.issue(NOW),
  ...changes,
});

/** As a wallet does it: the bytes wrapped. */
async function sign(delegation: Delegation, by = wallet, at: DeviceKey = device): Promise<SignedDelegation> {
  const text = utf8(delegationText(delegation));
  return {
    delegation,
    walletSignature: `0x${toHex(by.sign(wrapBytes(text)))}`,
    deviceSignature: toHex(await at.sign(text)),
  };
}

const accept = (signed: unknown, now = NOW + 1_000) => acceptDelegation(signed, HERE, challenges, now);
const refused = (code: string) => expect.objectContaining({ code });

describe('a delegation', () => {
  it('is taken once', async () => {
    const signed = await sign(fresh());
    const delegation = await accept(signed);
    expect(delegation).toMatchObject({ device: toHex(device.publicKey), hotkey: wallet.address, expiresAt: NOW + DAY });
    await expect(accept(signed)).rejects.toThrow(refused('DELEGATION_REPLAYED'));
  });

  it('reads in the wallet as what it is', () => {
    expect(delegationText(fresh({ device: '00'.repeat(32) }))).toMatchInlineSnapshot(`
      "Starling: let this device mine for my hotkey. It moves no funds.
      network: dev-1
      netuid: 9
      server: starling.example
      hotkey: 5FnaLnMQh6CD11QWFgekhqN7muSkfCnWvyLLx6XgXN67UvZW
      device: 0000000000000000000000000000000000000000000000000000000000000000
      issued: 2026-01-02T03:04:05.000Z
      expires: 2026-01-03T03:04:05.000Z
      nonce: 019b7ca98c88000193e792a5a74eb622"
    `);
  });

  it.each<[string, string, () => Promise<unknown>]>([
    ['another’s signature', 'SIGNATURE_INVALID', async () => sign(fresh(), Sr25519Key.development('thief'))],
    ['a device that is not one’s own', 'SIGNATURE_INVALID', async () => sign(fresh(), wallet, other)],
    ['no signature', 'SIGNATURE_INVALID', async () => ({ ...(await sign(fresh())), walletSignature: '' })],
    [
      'something changed after signing',
      'SIGNATURE_INVALID',
      async () => ({ ...(await sign(fresh())), delegation: fresh({ expiresAt: NOW + 2 * DAY }) }),
    ],
    ['another network', 'DELEGATION_WRONG_NETWORK', async () => sign(fresh({ network: 'dev-2' }))],
    ['another subnet', 'DELEGATION_WRONG_NETWORK', async () => sign(fresh({ netuid: 10 }))],
    ['another server', 'DELEGATION_WRONG_SERVER', async () => sign(fresh({ server: 'evil.example' }))],
    ['one that is over', 'DELEGATION_EXPIRED', async () => sign(fresh({ expiresAt: NOW + 999 }))],
    ['one for half a year', 'DELEGATION_EXPIRED', async () => sign(fresh({ expiresAt: NOW + 180 * DAY }))],
    ['a challenge nobody issued', 'DELEGATION_REPLAYED', async () => sign(fresh({ nonce: 'ab'.repeat(16) }))],
    ['another time than the challenge’s', 'DELEGATION_REPLAYED', async () => sign(fresh({ issuedAt: NOW - 1 }))],
    ['a hotkey that is no address', 'ADDRESS_INVALID', async () => sign(fresh({ hotkey: 'me' }))],
    ['a line smuggled in', 'BAD_MESSAGE', async () => sign(fresh({ server: 'starling.example\nhotkey: 5other' }))],
    ['nothing of the kind', 'BAD_MESSAGE', async () => null],
  ])('is refused: %s', async (_, code, make) => {
    await expect(accept(await make())).rejects.toThrow(refused(code));
  });

  it('is refused two minutes after the challenge', async () => {
    await expect(accept(await sign(fresh()), NOW + 120_001)).rejects.toThrow(refused('DELEGATION_REPLAYED'));
    await expect(accept(await sign(fresh()), NOW + 120_000)).resolves.toMatchObject({ hotkey: wallet.address });
  });

  it('costs a challenge each time its signatures are looked at, and nothing where they need not be', async () => {
    const thief = Sr25519Key.development('thief');
    const delegation = fresh();
    const forged = await sign(delegation, thief);
    await expect(accept(forged)).rejects.toThrow(refused('SIGNATURE_INVALID'));
    for (const again of [forged, await sign(delegation)]) await expect(accept(again)).rejects.toThrow(refused('DELEGATION_REPLAYED'));
    const unasked = await sign(fresh({ nonce: 'ab'.repeat(16) }), thief);
    await expect(accept(unasked), 'the challenge before the signature').rejects.toThrow(refused('DELEGATION_REPLAYED'));
    const both = await sign(fresh(), thief, other);
    await expect(accept(both), 'the device before the wallet').rejects.toThrow(/The device did not sign/);
  });

  it('of a hotkey that may not be worked for leaves the challenge', async () => {
    const signed = await sign(fresh());
    const not = async () => {
      throw new Error('not registered');
    };
    await expect(acceptDelegation(signed, HERE, challenges, NOW, not)).rejects.toThrow('not registered');
    await expect(accept(signed)).resolves.toMatchObject({ hotkey: wallet.address });
  });
});

describe('a challenge', () => {
  const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));

  it('is good whatever strangers ask for meanwhile', () => {
    const busy = new Challenges(random);
    const mine = busy.issue(NOW);
    for (let i = 0; i < 10_000; i++) busy.issue(NOW);
    expect(busy.redeem(mine.nonce, NOW + 1)).toBe(NOW);
  });

  it('is like no other of the same moment, each good once', () => {
    const one = new Challenges(random);
    const nonces = Array.from({ length: 20 }, () => one.issue(NOW).nonce);
    expect(new Set(nonces).size).toBe(20);
    for (const nonce of nonces) one.redeem(nonce, NOW);
    for (const nonce of nonces) expect(() => one.redeem(nonce, NOW + 120_000)).toThrow(refused('DELEGATION_REPLAYED'));
  });

  it('of another server, or with a later time put in, is none', () => {
    const [one, another] = [new Challenges(random), new Challenges(random)];
    const { nonce } = one.issue(NOW);
    expect(() => another.redeem(nonce, NOW)).toThrow(refused('DELEGATION_REPLAYED'));
    const later = one.issue(NOW + 300_000).nonce.slice(0, 12) + nonce.slice(12);
    expect(() => one.redeem(later, NOW + 300_000)).toThrow(refused('DELEGATION_REPLAYED'));
    expect(() => one.redeem('', NOW)).toThrow(refused('DELEGATION_REPLAYED'));
    expect(one.redeem(nonce, NOW)).toBe(NOW);
  });
});

describe('a message of a device', () => {
  const message = { purpose: 'receipt', server: HERE.server, subject: 'lease-7', sha256: 'ab'.repeat(32) };

  it('is taken from the device that signed it', async () => {
    const signature = await device.signer.sign(deviceText(message));
    await expect(assertFromDevice(device.signer.publicKey, message, signature)).resolves.toBeUndefined();
  });

  it('is refused from another device, for another lease, content, purpose or server', async () => {
    const signature = await device.signer.sign(deviceText(message));
    const check = (changes: Partial<typeof message>, by = device) =>
      expect(assertFromDevice(by.signer.publicKey, { ...message, ...changes }, signature)).rejects;
    await check({}, other).toThrow(refused('SIGNATURE_INVALID'));
    await check({ subject: 'lease-8' }).toThrow(refused('SIGNATURE_INVALID'));
    await check({ sha256: 'cd'.repeat(32) }).toThrow(refused('SIGNATURE_INVALID'));
    await check({ purpose: 'contribution' }).toThrow(refused('SIGNATURE_INVALID'));
    await check({ server: 'evil.example' }).toThrow(refused('SIGNATURE_INVALID'));
    await check({ subject: 'a\nb' }).toThrow(refused('BAD_MESSAGE'));
  });
});
