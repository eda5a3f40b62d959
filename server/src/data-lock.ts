/** One server per data folder. The lock is the operating system's, so one that was killed leaves none behind. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SwarmError } from '@starling/protocol';

/** SQLite's primary result code for a database somebody else has locked. */
const SQLITE_BUSY = 5;

/** Holds `dataDir` until the returned function is called. Throws `DATA_IN_USE`, or what the disk says. */
export function lockData(dataDir: string): () => void {
  mkdirSync(dataDir, { recursive: true });
  const database = new DatabaseSync(join(dataDir, 'lock'));
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    const busy = (error as { errcode?: number }).errcode === SQLITE_BUSY;
    throw busy ? new SwarmError('DATA_IN_USE', `Another server uses the folder ${dataDir}.`) : error;
  }
  return () => database.close();
}
