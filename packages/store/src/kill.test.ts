/** What was acknowledged survives `kill -9`, and nothing is there in part. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { findPostgres, temporaryFolder, temporaryRun } from './for-tests.ts';
import { batchFrom, type Kind, openKilled } from './kill-writer.ts';
import type { Store } from './store.ts';

const WRITER = fileURLToPath(new URL('./kill-writer.ts', import.meta.url));
/** After so many lines of the writer it is killed: at once, soon, and after a few megabytes. */
const KILLS = [1, 2, 37, 5, 90];

/** Runs a writer and kills it when it has said `lines` things. Gives the newest entry that it said was stored. */
async function killed(kind: Kind, place: string, lines: number, meanwhile: () => Promise<void>): Promise<number> {
  const writer = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', WRITER, kind, place], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(writer, 'exit');
  const said: string[] = [];
  for await (const line of createInterface({ input: writer.stdout })) {
    said.push(line);
    if (said.length === 1) await meanwhile();
    if (said.length === lines) writer.kill('SIGKILL'); // what it said before it died is still read
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
  return Number(said.at(-1)) || 0;
}

/** Whole batches and nothing else, at least up to entry `acknowledged`. Gives the newest entry. */
async function expectWhole(store: Store, acknowledged: number): Promise<number> {
  const last = await store.lastSeq();
  expect(last).toBeGreaterThanOrEqual(acknowledged);
  const entries = await store.entries(0, last + 1);
  const rows = (await store.rows('entry', { limit: last + 1 })).toReversed().map(({ id, ...row }) => row);
  let batch = { ...batchFrom(1), tensors: [] as unknown };
  for (let first = 1; first <= last; first += batch.entries.length) {
    batch = batchFrom(first);
    expect(entries.slice(first - 1, first - 1 + batch.entries.length)).toEqual(batch.entries);
    expect(rows.slice(first - 1, first - 1 + batch.rows.length)).toEqual(batch.rows);
  }
  expect([entries.length, rows.length]).toEqual([last, last]);
  expect(await store.tensors()).toEqual(batch.tensors);
  return last;
}

async function surviveKills(kind: Kind, place: string): Promise<void> {
  let acknowledged = 0;
  for (const lines of KILLS) {
    const inUse = () => expect(openKilled(kind, place)).rejects.toMatchObject({ code: 'DATA_IN_USE' });
    const said = await killed(kind, place, lines, lines === KILLS[0] && kind !== 'postgres' ? inUse : async () => {});
    const store = await openKilled(kind, place);
    acknowledged = await expectWhole(store, Math.max(said, acknowledged));
    await store.close();
  }
  expect(acknowledged).toBeGreaterThan(100);
}

const postgres = await findPostgres();

describe('what was acknowledged survives SIGKILL, and no batch is there in part', () => {
  test.each(['file', 'thread'] as const)('SQLite in a %s', async (kind) => {
    const { folder, remove } = await temporaryFolder();
    onTestFinished(remove);
    await surviveKills(kind, join(folder, 'run.db'));
  });

  test.skipIf(!postgres)('PostgreSQL', async () => {
    const { address, remove } = temporaryRun(postgres!);
    onTestFinished(async () => void (await remove()));
    await surviveKills('postgres', address);
  });
});
