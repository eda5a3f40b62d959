import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findPostgres, temporaryFolder, temporaryRun } from './for-tests.ts';
import { openReader, openStore } from './index.ts';
import { batchOf, entriesOf } from './samples.ts';

const postgres = await findPostgres();

const PLACES: [string, () => Promise<{ where: string; remove: () => Promise<unknown> }>][] = [
  [
    'a file',
    async () => {
      const { folder, remove } = await temporaryFolder();
      return { where: join(folder, 'run.db'), remove };
    },
  ],
];
if (postgres) {
  PLACES.push([
    'PostgreSQL',
    async () => {
      const { address, remove } = temporaryRun(postgres);
      return { where: address, remove };
    },
  ]);
}

describe.each(PLACES)('a reader of %s', (_, place) => {
  it('sees what a writer stores meanwhile, and cannot write', async () => {
    const { where, remove } = await place();
    const store = await openStore(where);
    await store.append(batchOf({ entries: entriesOf(1, 3) }));
    const reader = await openReader(where);
    expect(await reader.lastSeq()).toBe(3);
    await store.append(batchOf({ entries: entriesOf(4, 5) }));
    expect(await reader.entries(0, 9)).toEqual(entriesOf(1, 5));
    const writing = reader as unknown as typeof store;
    await expect(writing.append(batchOf({ entries: entriesOf(6, 6) }))).rejects.toMatchObject({ code: expect.stringMatching(/^STORE_/) });
    await reader.close();
    await store.append(batchOf({ entries: entriesOf(6, 6) }));
    await store.close();
    const later = await openReader(where);
    expect(await later.lastSeq()).toBe(6);
    await later.close();
    await remove();
  });

  it('makes nothing where nothing is', async () => {
    const { where, remove } = await place();
    await expect(openReader(where)).rejects.toMatchObject({ code: 'LOG_UNREADABLE' });
    await expect(openReader(where)).rejects.toMatchObject({ code: 'LOG_UNREADABLE' });
    await remove();
  });
});

it('refuses a file that is no store', async () => {
  const { folder, remove } = await temporaryFolder();
  const path = join(folder, 'notes.txt');
  await writeFile(path, 'these are notes\n'.repeat(100));
  await expect(openReader(path)).rejects.toMatchObject({ code: 'LOG_UNREADABLE' });
  await remove();
});
