import { expect, test } from 'vitest';
import { clockOf, minutesOf, obstacle, type Rules } from './policy.ts';

const at = (clock: string) => new Date(`2026-03-04T${clock}:00`);
const rules = (part: Partial<Rules>): Rules => ({ onlyOnMains: false, onlyWhenIdle: false, hours: null, ...part });
const quiet = { charging: true, idle: true };

test('without rules nothing is in the way', () => {
  expect(obstacle(rules({}), { charging: false, idle: false }, at('12:00'))).toBeNull();
});

test('battery and somebody at the keyboard are in the way where they are to be; what is not known is not', () => {
  const both = rules({ onlyOnMains: true, onlyWhenIdle: true });
  expect(obstacle(both, quiet, at('12:00'))).toBeNull();
  expect(obstacle(both, { ...quiet, charging: false }, at('12:00'))).toMatchObject({ message: /battery/, until: null });
  expect(obstacle(both, { ...quiet, idle: false }, at('12:00'))).toMatchObject({ message: /uses this device/, until: null });
  expect(obstacle(both, { charging: null, idle: null }, at('12:00'))).toBeNull();
});

test('hours of the day, over midnight too, with the time at which they begin', () => {
  const day = rules({ hours: { from: 9 * 60, until: 17 * 60 } });
  expect(obstacle(day, quiet, at('09:00'))).toBeNull();
  expect(obstacle(day, quiet, at('17:00'))).toEqual({
    message: 'It is to mine from 09:00 to 17:00 only.',
    until: new Date('2026-03-05T09:00:00').getTime(),
  });
  expect(obstacle(day, quiet, at('08:59'))!.until).toBe(at('09:00').getTime());
  const night = rules({ hours: { from: 22 * 60, until: 6 * 60 } });
  expect([at('23:00'), at('05:59')].map((now) => obstacle(night, quiet, now))).toEqual([null, null]);
  expect(obstacle(night, quiet, at('06:00'))!.until).toBe(at('22:00').getTime());
  expect(obstacle(rules({ hours: { from: 0, until: 0 } }), quiet, at('13:00'))).toBeNull();
});

test('times of the day are read and written', () => {
  expect([clockOf(0), clockOf(510), clockOf(1439)]).toEqual(['00:00', '08:30', '23:59']);
  expect(['08:30', '24:00', '8:30', ''].map(minutesOf)).toEqual([510, null, null, null]);
});
