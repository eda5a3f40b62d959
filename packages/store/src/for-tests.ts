/** Places for the stores of tests, each of its own, and what removes them. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';

/** PostgreSQL as it is where these tests run: the default address, no password. */
const HERE = ['root', 'postgres'].map((user) => `postgres://${user}@127.0.0.1:5432/test`);

/** Its address, or null when nothing answers there; `explain` is told why its tests are skipped. */
export async function findPostgres(explain: (why: string) => void = () => {}): Promise<string | null> {
  const reasons = new Set<string>();
  for (const address of HERE) {
    const client = new Client({ connectionString: address, connectionTimeoutMillis: 5_000 });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.end();
      return address;
    } catch (error) {
      reasons.add((error as Error).message);
    }
  }
  explain(`The tests of PostgreSQL are skipped: no database "test" at 127.0.0.1:5432 (${[...reasons].join('; ')}).`);
  return null;
}

/** A run of its own in the database, and what removes it. */
export function temporaryRun(postgres: string) {
  const run = `test-${randomUUID()}`;
  return {
    run,
    address: `${postgres}?run=${run}`,
    remove: () => query(postgres, `DROP SCHEMA IF EXISTS "starling_${run}" CASCADE`),
  };
}

/** One statement on a connection of its own. */
export async function query(postgres: string, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new Client(postgres);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** A folder of its own, and what removes it. */
export async function temporaryFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'starling-store-'));
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
