import { isSigned, Sr25519Key } from '@starling/chain';
import { expect, test } from 'vitest';
import { signed } from './hotkey.ts';

const KEY = Sr25519Key.fromSeed('11'.repeat(32));
const hex = (text: string) => `0x${Buffer.from(text).toString('hex')}`;

test('signs delegations as a wallet does, and nothing else', async () => {
  const text = 'Starling: let this device mine for my hotkey. It moves no funds.\nnetwork: x';
  const signature = Buffer.from(signed(KEY, hex(text)).slice(2), 'hex');
  expect(await isSigned(Buffer.from(text), signature, KEY.publicKey)).toBe(true);
  expect(() => signed(KEY, hex('transfer all'))).toThrow(expect.objectContaining({ code: 'BAD_MESSAGE' }));
  expect(() => signed(KEY, 'no hex')).toThrow(expect.objectContaining({ code: 'BAD_MESSAGE' }));
});
