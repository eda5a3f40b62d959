/** One server per data folder. The lock is the operating system's, so one that was killed leaves none behind. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SwarmError } from '@starling/protocol';

/** SQLite's primary result code for a database somebody else has locked. */
const SQLITE_BUSY = 5;

/** Holds `dataDir` until the returned function is called. Throws `DATA_IN_USE`, or `CONFIG_INVALID` for a folder that cannot be written. */
export function lockData(dataDir: string): () => void {
  let database: DatabaseSync | undefined;
  try {
    mkdirSync(dataDir, { recursive: true });
    database = new DatabaseSync(join(dataDir, 'lock'));
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database?.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) {
      throw new SwarmError('DATA_IN_USE', `Another server uses the folder ${dataDir}.`);
    }
    throw new SwarmError('CONFIG_INVALID', `--data ${dataDir} cannot be used: ${(error as Error).message}.`, { cause: error });
  }
  return () => database.close();
}
