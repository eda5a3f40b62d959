import { toHex } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { fromHex, utf8 } from './bytes.ts';
import { DeviceKey } from './device.ts';
import { Sr25519Key } from './keys.ts';
import { isEd25519, isSigned, isSr25519, wrapBytes } from './signature.ts';
import { decodeAddress, encodeAddress } from './ss58.ts';

/** Substrate's well-known development accounts (https://docs.polkadot.com/reference/tools/subkey/). */
const ACCOUNTS: [string, string, string][] = [
  ['Alice', 'd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d', '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY'],
  ['Bob', '8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48', '5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty'],
];

describe('an address', () => {
  it.each(ACCOUNTS)('of //%s', (name, publicKey, address) => {
    const key = Sr25519Key.development(name);
    expect(toHex(key.publicKey)).toBe(publicKey);
    expect(key.address).toBe(address);
    expect(toHex(decodeAddress(address))).toBe(publicKey);
  });

  it.each([
    ['nothing', ''],
    ['one letter changed', '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ'],
    ['a letter that base 58 lacks', '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQ0'],
    ['too short', '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKut'],
    ['Polkadot’s own prefix', encodeAddress(fromHex(ACCOUNTS[0]![1])!, 0)],
    ['a hex key', `0x${ACCOUNTS[0]![1]}`],
  ])('is refused: %s', (_, address) => {
    expect(() => decodeAddress(address)).toThrow(expect.objectContaining({ code: 'ADDRESS_INVALID' }));
  });

  it('is made of any key, and read back', () => {
    for (let i = 0; i < 50; i++) {
      const { publicKey, address } = Sr25519Key.development(`number ${i}, with a name that is longer than 32`);
      expect(toHex(decodeAddress(address))).toBe(toHex(publicKey));
    }
  });
});

describe('a signature', () => {
  const message = utf8('this is a message');

  it('of schnorrkel’s Rust is taken (sr25519-crust, test/ds.cpp)', () => {
    const publicKey = fromHex('46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a')!;
    const signature = fromHex(
      '4e172314444b8f820bb54c22e95076f220ed25373e5c178234aa6c211d29271244b947e3ff3418ff6b45fd1df1140c8cbff69fc58ee6dc96df70936a2bb74b82',
    )!;
    expect(isSr25519(message, signature, publicKey)).toBe(true);
    expect(isSr25519(utf8('another message'), signature, publicKey)).toBe(false);
  });

  it('of ed25519 is taken (RFC 8032, 7.1, test 1)', async () => {
    const publicKey = fromHex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')!;
    const signature = fromHex(
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    )!;
    expect(await isEd25519(new Uint8Array(), signature, publicKey)).toBe(true);
    expect(await isSigned(new Uint8Array(), signature, publicKey)).toBe(true);
    expect(await isEd25519(message, signature, publicKey)).toBe(false);
  });

  it('fits plain and wrapped, with the kind of key before it or without', async () => {
    const key = Sr25519Key.development('Alice');
    for (const signed of [message, wrapBytes(message)]) {
      const signature = key.sign(signed);
      expect(await isSigned(message, signature, key.publicKey)).toBe(true);
      expect(await isSigned(message, Uint8Array.of(1, ...signature), key.publicKey)).toBe(true);
      expect(await isSigned(message, Uint8Array.of(0, ...signature), key.publicKey)).toBe(false);
      expect(await isSigned(message, signature.subarray(1), key.publicKey)).toBe(false);
      expect(await isSigned(message, signature, Sr25519Key.development('Bob').publicKey)).toBe(false);
    }
  });

  it('does not fit once a bit of it, of the message or of the key is another', async () => {
    const key = Sr25519Key.development('Alice');
    const parts = [message, key.sign(message), key.publicKey] as const;
    for (let which = 0; which < 3; which++)
      for (const bit of [0, 7, 100, 130]) {
        const changed = parts.map((part) => Uint8Array.from(part)) as unknown as [Uint8Array, Uint8Array, Uint8Array];
        changed[which]![bit >> 3]! ^= 1 << (bit & 7);
        expect(await isSigned(...changed)).toBe(false);
      }
  });
});

it('a device key signs, and is not given out', async () => {
  const device = await DeviceKey.generate();
  const signature = await device.sign(utf8('a'));
  expect(await isEd25519(utf8('a'), signature, device.publicKey)).toBe(true);
  expect(await isEd25519(utf8('b'), signature, device.publicKey)).toBe(false);
  await expect(crypto.subtle.exportKey('pkcs8', device.pair.privateKey)).rejects.toThrow();
  const again = await DeviceKey.from(structuredClone(device.pair));
  expect(await isEd25519(utf8('c'), await again.sign(utf8('c')), device.publicKey)).toBe(true);
});

it('a seed of another length is no key', () => {
  for (const seed of ['', '0x00', 'zz', new Uint8Array(31)])
    expect(() => Sr25519Key.fromSeed(seed)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
