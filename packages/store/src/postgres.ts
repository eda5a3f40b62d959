/**
 * A store in PostgreSQL: many runs in one database, each with its own schema, its own lock and one writer.
 *
 * A batch is one statement, so one round trip and one transaction whatever it holds. When the connection breaks under
 * it, nobody knows whether it got through; the next call connects again and sees by the newest entry. Calls queue up
 * and are done one after the other.
 */
import { randomUUID } from 'node:crypto';
import { SwarmError } from '@starling/protocol';
import { assertCovered, assertSame, describeBatch, Guard, lastingTensors } from './batch.ts';
import { type PostgresAddress, type PostgresOptions, parseAddress } from './postgres-address.ts';
import { isRefusal, openSession, postgresFailure, type Session, type Writer } from './postgres-session.ts';
import { isWhole } from './snapshots.ts';
import {
  type Batch,
  type Entry,
  type RowQuery,
  SNAPSHOTS_KEPT,
  type Snapshot,
  type Store,
  type StoredRow,
  type StoredTensor,
} from './store.ts';

/** ms to wait for a lock: a backend whose client was killed ends once it has finished its statement. */
const PATIENCE = 5_000;

/** `bigint` comes as text: JavaScript's numbers would lose digits of what PostgreSQL can hold, though not of what we write. */
type Bigint<T, K extends keyof T> = Omit<T, K> & Record<K, string>;

/** All of a batch. Frames come as one run of bytes: an array of them would travel as hex, in twice the size. */
const append = (schema: string) => `
  WITH new_entries AS (
    INSERT INTO ${schema}.entries (seq, at, body)
    SELECT $1::bigint + n, at, body FROM unnest($2::float8[], $3::text[]) WITH ORDINALITY AS given (at, body, n)
  ), new_rows AS (
    INSERT INTO ${schema}.rows (kind, owner, at, body)
    SELECT kind, owner, at, body FROM unnest($4::text[], $5::text[], $6::float8[], $7::text[])
      WITH ORDINALITY AS given (kind, owner, at, body, n) ORDER BY n
  ), new_tensors AS (
    INSERT INTO ${schema}.tensors (scope, name, hash, blob, frame)
    SELECT scope, name, hash, blob, substring($8::bytea FROM start FOR size)
      FROM unnest($9::text[], $10::text[], $11::text[], $12::text[], $13::int[], $14::int[])
      WITH ORDINALITY AS given (scope, name, hash, blob, start, size, n) ORDER BY n
    ON CONFLICT (scope, name) DO UPDATE SET id = excluded.id, hash = excluded.hash, blob = excluded.blob, frame = excluded.frame
  )
  DELETE FROM ${schema}.tensors WHERE scope = ANY ($15::text[])`;

function parametersOf(batch: Batch): unknown[] {
  const { entries, rows, released } = batch;
  const tensors = lastingTensors(batch);
  let end = 1; // SQL counts bytes from 1
  const starts = tensors.map(({ frame }) => {
    const start = end;
    end += frame?.length ?? 0;
    return start;
  });
  return [
    (entries[0]?.seq ?? 1) - 1,
    entries.map(({ at }) => at),
    entries.map(({ body }) => body),
    rows.map(({ kind }) => kind),
    rows.map(({ owner }) => owner),
    rows.map(({ at }) => at),
    rows.map(({ body }) => body),
    Buffer.concat(tensors.flatMap(({ frame }) => frame ?? [])),
    tensors.map(({ scope }) => scope),
    tensors.map(({ name }) => name),
    tensors.map(({ hash }) => hash),
    tensors.map(({ blob }) => blob),
    starts,
    tensors.map(({ frame }) => frame?.length ?? null),
    released,
  ];
}

export class PostgresStore implements Store {
  readonly name: string;
  readonly #address: PostgresAddress;
  readonly #writer: Writer;
  readonly #guard = new Guard();
  #session: Session;
  #queue: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | null = null;

  /**
   * `address` is `postgres://user:password@host:port/database?run=NAME`. Throws `CONFIG_INVALID`, `DATA_IN_USE`,
   * `LOG_UNREADABLE` or `STORE_FAILED`.
   */
  static async open(address: string, options: PostgresOptions = {}): Promise<PostgresStore> {
    const parsed = parseAddress(address, options);
    const writer = {
      application: `starling store ${randomUUID()}`,
      patience: options.patience ?? PATIENCE,
      epoch: null,
      readOnly: options.readOnly ?? false,
    };
    return new PostgresStore(parsed, writer, await openSession(parsed, writer));
  }

  private constructor(address: PostgresAddress, writer: Writer, session: Session) {
    this.name = address.name;
    this.#address = address;
    this.#writer = { ...writer, epoch: session.epoch };
    this.#session = session;
  }

  async append(batch: Batch): Promise<void> {
    const { entries } = batch;
    const write = async (session: Session) => {
      if (this.#guard.place(batch, session.newest) === 'following') {
        await session.client.query({ name: 'append', text: append(this.#address.schema), values: parametersOf(batch) });
        session.newest += entries.length;
      } else assertSame(entries, await this.#entries(session, entries[0].seq - 1, entries.length));
      this.#guard.stored(batch);
    };
    return this.#do(`${describeBatch(batch)} could not be stored`, write, (error) => this.#guard.failed(batch, error));
  }

  async lastSeq(): Promise<number> {
    return this.#do('The newest entry could not be read', async ({ client }) => {
      const { rows } = await client.query<{ seq: string }>(`SELECT coalesce(max(seq), 0) AS seq FROM ${this.#address.schema}.entries`);
      return Number(rows[0].seq);
    });
  }

  async entries(after: number, limit: number): Promise<Entry[]> {
    return this.#do(`The entries after ${after} could not be read`, (session) => this.#entries(session, after, limit));
  }

  async saveSnapshot({ seq, hash, state }: Snapshot): Promise<void> {
    const table = `${this.#address.schema}.snapshots`;
    await this.#do(`The snapshot after entry ${seq} could not be stored`, async ({ client, newest }) => {
      assertCovered(seq, newest);
      const insert = `INSERT INTO ${table} VALUES ($1, $2, $3) ON CONFLICT (seq) DO UPDATE SET hash = excluded.hash, state = excluded.state`;
      await client.query(insert, [seq, hash, state]);
      await client.query(`DELETE FROM ${table} WHERE seq NOT IN (SELECT seq FROM ${table} ORDER BY seq DESC LIMIT $1)`, [SNAPSHOTS_KEPT]);
    });
  }

  async snapshot(through: number): Promise<Snapshot | null> {
    const text = `SELECT seq, hash, state FROM ${this.#address.schema}.snapshots WHERE seq <= $1 ORDER BY seq DESC LIMIT 1`;
    return this.#do('The snapshots could not be read', async ({ client }) => {
      for (let newest = through; ; ) {
        const found = (await client.query<Bigint<Snapshot, 'seq'>>(text, [newest])).rows[0];
        if (!found) return null;
        const snapshot = { ...found, seq: Number(found.seq) };
        if (isWhole(snapshot)) return snapshot;
        newest = snapshot.seq - 1;
      }
    });
  }

  async rows(kind: string, { owner, before = Number.MAX_SAFE_INTEGER, limit }: RowQuery): Promise<StoredRow[]> {
    const values = [kind, before, limit, ...(owner === undefined ? [] : [owner])];
    const text = `SELECT id, kind, owner, at, body FROM ${this.#address.schema}.rows
      WHERE kind = $1 AND id < $2 ${owner === undefined ? '' : 'AND owner = $4'} ORDER BY id DESC LIMIT $3`;
    return this.#do('The rows could not be read', async ({ client }) => {
      const { rows } = await client.query<Bigint<StoredRow, 'id'>>(text, values);
      return rows.map((row) => ({ ...row, id: Number(row.id) }));
    });
  }

  async tensors(): Promise<StoredTensor[]> {
    const text = `SELECT scope, name, hash, frame, blob FROM ${this.#address.schema}.tensors ORDER BY id`;
    return this.#do('The tensors could not be read', async ({ client }) => {
      const { rows } = await client.query<StoredTensor>(text);
      // A `Buffer` is a `Uint8Array`, but compares and prints otherwise.
      return rows.map((row) => ({ ...row, frame: row.frame && new Uint8Array(row.frame.buffer, row.frame.byteOffset, row.frame.length) }));
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#queue.then(() => this.#session.close(this.#address));
    return this.#closed;
  }

  async #entries({ client }: Session, after: number, limit: number): Promise<Entry[]> {
    const { rows } = await client.query<Bigint<Entry, 'seq'>>({
      name: 'entries',
      text: `SELECT seq, at, body FROM ${this.#address.schema}.entries WHERE seq > $1 ORDER BY seq LIMIT $2`,
      values: [after, limit],
    });
    return rows.map((row) => ({ ...row, seq: Number(row.seq) }));
  }

  /**
   * After the calls before it: `work` on a connection that holds the lock, a new one when the last was lost. `failed`
   * is told before the next call begins.
   */
  #do<T>(what: string, work: (session: Session) => Promise<T>, failed: (error: SwarmError) => void = () => {}): Promise<T> {
    if (this.#closed) return Promise.reject(new SwarmError('STORE_FAILED', `${what}: ${this.name} is closed.`));
    const done = this.#queue.then(async () => {
      try {
        if (!this.#session.alive) this.#session = await openSession(this.#address, this.#writer);
        return await work(this.#session);
      } catch (error) {
        if (!isRefusal(error)) this.#session.drop();
        const coded = postgresFailure(this.#address, what, error);
        failed(coded);
        throw coded;
      }
    });
    this.#queue = done.catch(() => {});
    return done;
  }
}
