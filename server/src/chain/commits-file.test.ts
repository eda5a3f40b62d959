import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WeightsCommit } from '@starling/chain';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CommitsFile } from './commits-file.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'commits-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const commit = (epoch: number): WeightsCommit => ({ uids: [1, 2], values: [65_535, 7], salt: [3, 4], version: 0, epoch });

it('holds what was written last, for whoever opens it next', async () => {
  expect(await new CommitsFile(folder, '5Hot').read()).toEqual([]);
  const file = new CommitsFile(folder, '5Hot');
  for (const commits of [[commit(1)], [commit(1), commit(2)]]) {
    await file.write(commits);
    expect(await new CommitsFile(folder, '5Hot').read()).toEqual(commits);
  }
  await file.write([]);
  expect(await new CommitsFile(folder, '5Hot').read()).toEqual([]);
  expect(await readdir(folder), 'nothing unfinished is left').toEqual(['commits-5Hot.json']);
});

it('makes its folder, and shares it with other validators', async () => {
  const shared = join(folder, 'not', 'there');
  const [one, two] = [new CommitsFile(shared, '5One'), new CommitsFile(shared, '5Two')];
  await Promise.all([one.write([commit(1)]), two.write([commit(2)])]);
  expect([await one.read(), await two.read()]).toEqual([[commit(1)], [commit(2)]]);
});

it('does not take a file that cannot be read for none: its commits would never be revealed', async () => {
  await writeFile(join(folder, 'commits-5Hot.json'), '[{"uids":');
  await expect(new CommitsFile(folder, '5Hot').read()).rejects.toThrow(SyntaxError);
  await mkdir(join(folder, 'commits-5Dir.json'));
  await expect(new CommitsFile(folder, '5Dir').read()).rejects.toMatchObject({ code: 'EISDIR' });
});
