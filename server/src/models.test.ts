import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { decodeFrame } from '@starling/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ClosedStep, dispensable, Models } from './models.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'starling-models-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = () => Models.open(join(folder, 'models'), join(folder, 'temporary'), 2);
const step = (version: number): ClosedStep => ({
  version,
  stages: [{ parameters: Float32Array.of(version, 1) }, { parameters: Float32Array.of(version, 2, 3) }] as ClosedStep['stages'],
});
const numbersOf = async (models: Models, version: number, stage: number) => [
  ...(await decodeFrame(new Uint8Array(await buffer(await models.read(version, stage))))).data,
];

test('what is kept is there for the next process, whole or not at all', async () => {
  const models = await open();
  await models.keep(step(10));
  await models.keep(step(20));
  rmSync(join(folder, 'models', '000000000010-1.frame'));
  const again = await open();
  expect(again.offer(null, 0)).toEqual([20]);
  expect(await numbersOf(again, 20, 1)).toEqual([20, 2, 3]);
  await expect(again.read(10, 0)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(again.read(20, 2)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('gaps grow with age, and the first and the newest stay', async () => {
  const models = await open();
  for (let version = 10; version <= 640; version += 10) await models.keep(step(version));
  const versions = models.offer(null, 0);
  expect(versions).toHaveLength(12);
  expect([versions[0], versions.at(-1)]).toEqual([10, 640]);
  const gaps = versions.slice(1).map((version, i) => version - versions[i]!);
  expect(gaps.at(-1)).toBeLessThanOrEqual(20);
  expect(gaps[1]).toBeGreaterThanOrEqual(80);
  expect(readdirSync(join(folder, 'models'))).toHaveLength(24);
  expect(dispensable([0, 10, 11, 12])).toBe(10);
});

test('the newest step is offered from memory, no more often than every ten seconds, and can be fetched a while longer', async () => {
  const models = await open();
  await models.keep(step(10));
  expect(models.offer(step(13), 1_000)).toEqual([10, 13]);
  expect(models.offer(step(14), 9_000)).toEqual([10, 13]);
  expect(models.offer(step(19), 11_000)).toEqual([10, 19]);
  expect(await numbersOf(models, 13, 0)).toEqual([13, 1]);
  expect(await numbersOf(models, 19, 1)).toEqual([19, 2, 3]);
  expect(models.offer(step(25), 30_000)).toEqual([10, 25]);
  await expect(models.read(13, 0)).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('a full disk is told, and harms nothing that was there', async () => {
  await (await open()).keep(step(10));
  const nodeFs = await import('node:fs/promises');
  const full = { ...nodeFs, open: () => Promise.reject(new Error('ENOSPC')) } as unknown as typeof nodeFs;
  const models = await Models.open(join(folder, 'models'), join(folder, 'temporary'), 2, full);
  await expect(models.keep(step(20))).rejects.toMatchObject({ code: 'CHECKPOINT_FAILED' });
  expect(models.offer(null, 0)).toEqual([10]);
});
