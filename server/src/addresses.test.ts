import { expect, it } from 'vitest';
import { Addresses } from './addresses.ts';

function addressesOf(most: number, header: string | null = null) {
  const here = new Set<string>();
  const addresses = new Addresses({ most, header, isHere: (minerId) => here.has(minerId) });
  let count = 0;
  /** A newcomer joins; whether it may. */
  const join = (address: string, headers = {}, minerId = `m-${++count}`): boolean => {
    try {
      addresses.admit({ address, headers }, minerId);
    } catch (error) {
      expect(error).toMatchObject({ code: 'BUSY', message: expect.stringContaining('--address-miners') });
      return false;
    }
    here.add(minerId);
    return true;
  };
  return { here, join };
}

it('takes so many of an address, and more when some have gone', () => {
  const { join, here } = addressesOf(2);
  expect([1, 2, 3].map(() => join('203.0.113.7'))).toEqual([true, true, false]);
  expect(join('203.0.113.8'), 'somebody else').toBe(true);
  expect(join('::ffff:203.0.113.7'), 'the same in another form').toBe(false);
  expect(join('203.0.113.7', {}, 'm-1'), 'who is counted already').toBe(true);
  here.delete('m-1');
  expect([1, 2].map(() => join('203.0.113.7'))).toEqual([true, false]);
});

it('takes a network of IPv6 for one address', () => {
  const { join } = addressesOf(1);
  expect(join('2001:db8::1')).toBe(true);
  expect(join('2001:db8:0:0:ffff::2')).toBe(false);
  expect(join('2001:db8:0:1::1')).toBe(true);
});

it('does not count who is on this machine', () => {
  const { join } = addressesOf(1);
  for (const address of ['127.0.0.1', '::ffff:127.0.0.1', '::1']) expect([join(address), join(address)]).toEqual([true, true]);
});

it('believes a header only when it was told to, and of that the last address only', () => {
  const said = (value: string) => ({ 'x-forwarded-for': value });
  const without = addressesOf(1);
  expect([without.join('203.0.113.7', said('198.51.100.1')), without.join('203.0.113.7', said('198.51.100.2'))]).toEqual([true, false]);
  const { join } = addressesOf(1, 'X-Forwarded-For');
  expect(join('127.0.0.1', said('198.51.100.1'))).toBe(true);
  expect(join('127.0.0.1', said('192.0.2.1, 198.51.100.1'))).toBe(false);
  expect(join('127.0.0.1', said('198.51.100.2'))).toBe(true);
  expect(join('127.0.0.1'), 'without it, by where it comes from').toBe(true);
});

it('forgets addresses whose miners are gone', () => {
  const { join, here } = addressesOf(1);
  for (let i = 0; i < 5_000; i++) {
    expect(join(`2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::1`)).toBe(true);
    here.clear();
  }
  expect([join('203.0.113.7'), join('203.0.113.7')]).toEqual([true, false]);
});
