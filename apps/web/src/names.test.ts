import { MINERS_AT_ONCE, type MinerView, type RunSnapshot } from '@starling/protocol';
import { expect, test } from 'vitest';
import { missingOf, nameOf, nameOfAccount, namesIn } from './names.ts';

test('a miner that gave itself no name is called by its id, an account by its address', () => {
  expect([nameOf({ id: 'm-1', name: 'wren' }), nameOf({ id: 'm-1', name: '' })]).toEqual(['wren', 'm-1']);
  const address = '5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY';
  expect(nameOfAccount({ names: ['', 'wren'], address })).toBe('wren');
  expect(nameOfAccount({ names: [], address })).toBe('5Grwva…utQY');
});

test('only those who are not here, and were not asked for, are asked for: each once, as many as the server takes', () => {
  const run = { stages: [{ miners: [{ id: 'm-1', name: 'wren' }] }, { miners: [{ id: 'm-2', name: '' }] }] };
  const here = namesIn(run as unknown as Pick<RunSnapshot, 'stages'> & { stages: { miners: MinerView[] }[] });
  expect(here).toEqual(new Map(Object.entries({ 'm-1': 'wren', 'm-2': 'm-2' })));
  expect(missingOf(['m-1', 'm-9', 'm-2', 'm-9', 'm-8'], here, new Map([['m-8', 'gull']]))).toEqual(['m-9']);
  const many = Array.from({ length: 250 }, (_, i) => `m-${i + 10}`);
  expect(missingOf(many, here)).toEqual(many.slice(0, MINERS_AT_ONCE));
});
