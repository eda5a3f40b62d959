/**
 * A connection that holds a run's lock. The lock is the session's, so it ends with the connection and a killed server
 * leaves none behind for longer than PostgreSQL needs to notice. (A pooler must therefore pool sessions, not
 * transactions.)
 *
 * A line that breaks without a word leaves our former session alive at the other end, lock and all: it is known by its
 * application name and ended from here.
 */
import { createHash } from 'node:crypto';
import { SwarmError } from '@starling/protocol';
import { Client, DatabaseError } from 'pg';
import { type PostgresAddress, reasonOf } from './postgres-address.ts';
import { ensureSchema } from './postgres-schema.ts';

/** SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const LOCK_NOT_AVAILABLE = '55P03';
const INVALID_CHARACTER = '22021';
/** Wrong password or user; no such database. */
const MISCONFIGURED = /^28|^3D000$/;

/**
 * Whatever the server's defaults: a commit is flushed when it is acknowledged, and a writer whose machine lost its
 * power is noticed within a minute or two, not hours, so that its lock is free again.
 */
const SETTINGS = `SELECT set_config(name, value, false) FROM (VALUES
  ('application_name', $1), ('synchronous_commit', 'on'), ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
  ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '60000')) AS settings (name, value)`;

/** Who opens: the same for every connection of one store. */
export interface Writer {
  /** The application name of its connections, which no other store has. At most 63 bytes. */
  application: string;
  /** ms to wait for the lock. */
  patience: number;
  /** What the run's counter of openings said when this writer opened it; null: it is opening now. */
  epoch: string | null;
  /** It takes no lock, makes nothing and counts no opening. */
  readOnly: boolean;
}

export class Session {
  readonly client: Client;
  readonly epoch: string;
  /** The newest entry that is stored: nobody else writes while the lock is ours. */
  newest: number;
  #alive = true;

  constructor(client: Client, epoch: string, newest: number) {
    this.client = client;
    this.epoch = epoch;
    this.newest = newest;
    client.on('end', () => {
      this.#alive = false;
    });
    client.on('error', () => {
      this.#alive = false;
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** For good: what its server still does is found out by the next session. */
  drop(): void {
    this.#alive = false;
    drop(this.client);
  }

  /** Gives the lock back and leaves politely; never throws. */
  async close({ run }: PostgresAddress): Promise<void> {
    try {
      await this.client.query('SELECT pg_advisory_unlock($1)', [lockKey(run)]);
      this.client.end().catch(() => {}); // nobody needs to wait for the other side's goodbye
    } catch {
      this.drop();
    }
  }
}

/**
 * Connects, takes the run's lock, makes its tables when there are none and finds out where its log ends. Throws
 * `DATA_IN_USE` when another writer has it, or `STORE_CONFLICT` when one had it since `writer` opened it;
 * `LOG_UNREADABLE`, `CONFIG_INVALID` (only while opening) or `STORE_FAILED`.
 */
export async function openSession(address: PostgresAddress, writer: Writer): Promise<Session> {
  let client: Client | undefined;
  try {
    client = new Client(address.config);
    client.on('error', () => {}); // a broken line is seen by the call that needs it; without a listener it ends the process
    await client.connect();
    await client.query(SETTINGS, [writer.application]);
    if (writer.readOnly) {
      await client.query('SET default_transaction_read_only = on');
    } else {
      await takeLock(client, address, writer);
    }
    await ensureSchema(client, address, writer.readOnly);
    const { schema } = address;
    const { rows } = await client.query<{ epoch: string; newest: string }>(
      writer.epoch === null && !writer.readOnly
        ? `UPDATE ${schema}.store SET epoch = epoch + 1 RETURNING epoch, (SELECT coalesce(max(seq), 0) FROM ${schema}.entries) AS newest`
        : `SELECT epoch, (SELECT coalesce(max(seq), 0) FROM ${schema}.entries) AS newest FROM ${schema}.store`,
    );
    const { epoch, newest } = rows[0];
    if (writer.epoch !== null && !writer.readOnly && epoch !== writer.epoch) throw taken(address);
    return new Session(client, epoch, Number(newest));
  } catch (error) {
    if (client) drop(client);
    if (error instanceof DatabaseError && MISCONFIGURED.test(error.code ?? '') && writer.epoch === null)
      throw new SwarmError('CONFIG_INVALID', `${address.name} cannot be opened: ${reasonOf(error)}.`, { cause: error });
    throw postgresFailure(address, 'The store could not be opened', error);
  }
}

async function takeLock(client: Client, address: PostgresAddress, { application, patience, epoch }: Writer): Promise<void> {
  const key = lockKey(address.run);
  const { rows } = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1) AS locked', [key]);
  if (rows[0].locked) return;
  const former = () =>
    client.query<{ pid: number }>('SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()', [
      application,
    ]);
  for (const { pid } of (await former()).rows) await client.query('SELECT pg_terminate_backend($1)', [pid]);
  try {
    // 0 would be to wait for ever.
    await client.query("SELECT set_config('lock_timeout', $1, false)", [String(Math.max(1, patience))]);
    await client.query('SELECT pg_advisory_lock($1)', [key]);
    await client.query("SELECT set_config('lock_timeout', '0', false)");
  } catch (error) {
    if (!(error instanceof DatabaseError && error.code === LOCK_NOT_AVAILABLE)) throw error;
    if ((await former()).rows.length > 0)
      throw new SwarmError('STORE_FAILED', `${address.name}: the connection that broke is not over yet at the other end.`);
    if (epoch !== null) throw taken(address);
    throw new SwarmError('DATA_IN_USE', `Another server has ${address.name} open.`);
  }
}

const taken = ({ name }: PostgresAddress) =>
  new SwarmError('STORE_CONFLICT', `Another server opened ${name} while the connection to it was lost.`);

/** Advisory locks have numbers of 64 bits, of the whole database: this one is the run's for all practical purposes. */
function lockKey(run: string): string {
  return createHash('sha256').update(`starling store ${run}`).digest().readBigInt64BE().toString();
}

function drop(client: Client): void {
  client.end().catch(() => {});
  client.connection.stream.destroy(); // `end` alone would wait for an answer that may never come
}

/** Whether the connection is as good as before: the statement was refused and rolled back, nothing else happened. */
export function isRefusal(error: unknown): boolean {
  return error instanceof SwarmError || (error instanceof DatabaseError && error.severity === 'ERROR');
}

/** Whatever went wrong, as a `STORE_FAILED` that names the host. */
export function postgresFailure({ name }: PostgresAddress, what: string, error: unknown): SwarmError {
  if (error instanceof SwarmError) return error;
  const reason =
    error instanceof DatabaseError && error.code === INVALID_CHARACTER
      ? `a text holds the character U+0000, which PostgreSQL cannot store (${error.message})`
      : reasonOf(error);
  return new SwarmError('STORE_FAILED', `${what}: ${reason}. It is ${name}.`, { cause: error });
}
