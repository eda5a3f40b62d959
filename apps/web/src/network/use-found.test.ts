import type { MinerView, PayView, RunSnapshot } from '@starling/protocol';
import { expect, test } from 'vitest';
import { found } from './use-found.ts';

const miner = (id: string, name: string, device: string | null) => ({ id, name, device }) as MinerView;
const run = {
  stages: [{ miners: [miner('m-1', 'kestrel', 'ab'), miner('m-2', 'kestrel', 'cd')] }, { miners: [miner('m-3', '', null)] }],
} as unknown as Pick<RunSnapshot, 'stages'>;
const pay = [{ address: '5Kestrel', names: ['kestrel'], devices: ['ab'], uid: 7 }] as unknown as PayView[];
const ids = (text: string) => found(run, text, pay).map(({ id }) => id);

test('a UID and a hotkey mean the miners that sign for it, a name all that have it', () => {
  for (const text of ['7', 'UID 7', 'uid7']) expect(ids(text)).toEqual(['m-1']);
  expect(ids('uid 70')).toEqual([]);
  expect(ids('5kes')).toEqual(['m-1']);
  expect(ids('kest')).toEqual(['m-1', 'm-2']);
  expect(ids('m-3')).toEqual(['m-3']);
});
