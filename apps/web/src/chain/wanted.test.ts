import { expect, test } from 'vitest';
import { isWanted, wanted } from './wanted.ts';

const account = (uid: number | null) => ({ uid, address: '5KestrelAndSoOn' });
const isIn = (query: string, uid: number | null) => isWanted(account(uid), wanted(query));

test('a UID is meant with and without its name, and no other that begins or ends alike', () => {
  for (const query of ['3', ' 3 ', 'UID 3', 'uid 3', 'uid3', 'UID: 3'])
    expect([3, 30, 13, null].map((uid) => isIn(query, uid))).toEqual([true, false, false, false]);
});

test('who writes UID means no name; a bare number may be one', () => {
  expect(wanted('UID 3')).toEqual({ uid: 3, text: null });
  expect(wanted('3')).toEqual({ uid: 3, text: '3' });
  expect(wanted(' Wren 3 ')).toEqual({ uid: null, text: 'wren 3' });
});

test('an address is found by either end, as it is shown', () => {
  for (const query of ['5kest', 'SoOn']) expect(isIn(query, null)).toBe(true);
  for (const query of ['and', 'null', 'undefined', '0', '']) expect(isIn(query, null)).toBe(false);
});
