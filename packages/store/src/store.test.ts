import { join } from 'node:path';
import { describe, test } from 'vitest';
import { describeStore, type OpenedStore } from './conformance.ts';
import { findPostgres, temporaryFolder, temporaryRun } from './for-tests.ts';
import { openStore, PostgresStore, type Store } from './index.ts';
import { SqliteStore } from './sqlite.ts';

describeStore('SQLite in memory', async () => {
  const store = new SqliteStore(':memory:');
  return { store, reopen: async () => store, destroy: () => store.close() };
});

/** A store that `open` opens at one place every time, and that `remove` removes from there. */
async function openedStore(open: () => Promise<Store>, remove: () => Promise<unknown>): Promise<OpenedStore> {
  const opened: OpenedStore = {
    store: await open(),
    reopen: async () => {
      await opened.store.close();
      opened.store = await open();
      return opened.store;
    },
    destroy: async () => {
      await opened.store.close();
      await remove();
    },
  };
  return opened;
}

describeStore('SQLite in a file', async () => {
  const { folder, remove } = await temporaryFolder();
  return openedStore(async () => new SqliteStore(join(folder, 'run.db')), remove);
});

describeStore('SQLite in a thread', async () => {
  const { folder, remove } = await temporaryFolder();
  return openedStore(() => openStore(join(folder, 'run.db')), remove);
});

const postgres = await findPostgres(console.warn);
if (postgres) {
  describeStore('PostgreSQL', async () => {
    const { address, remove } = temporaryRun(postgres);
    return openedStore(() => PostgresStore.open(address), remove);
  });
} else describe.skip('PostgreSQL', () => test('is not here'));
