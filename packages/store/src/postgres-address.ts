/** Where a run lives in PostgreSQL, from an address that an operator typed. Passwords stay out of names and messages. */
import { SwarmError } from '@starling/protocol';
import { Client, type ClientConfig } from 'pg';

/** Longest name of a run: with the prefix of its schema it just fits PostgreSQL's 63 bytes. */
const RUN_NAME = /^[A-Za-z0-9_.-]{1,54}$/;

/** Connecting may take so long, in ms: a database in another region, woken up. */
const CONNECT_TIMEOUT = 10_000;
/** One statement may take so long, in ms, before its connection counts as lost: hundreds of MB over a slow line. */
const QUERY_TIMEOUT = 120_000;
/** Silence after which the system asks whether the other side is still there, in ms. */
const KEEP_ALIVE = 30_000;

export interface PostgresOptions {
  /** The run, unless the address names one with `?run=`. Letters, digits, `_`, `.` and `-`; at most 54. */
  run?: string;
  /** How long to wait for a lock that another connection holds, in ms: a killed server's lives on for a moment. Default 5000. */
  patience?: number;
  /** Look at it while somebody else may be writing. */
  readOnly?: boolean;
}

export interface PostgresAddress {
  config: ClientConfig;
  run: string;
  /** For operators: host, port, database and run. */
  name: string;
  /** The run's schema, quoted for SQL. */
  schema: string;
}

/** Throws `CONFIG_INVALID` for an address that cannot be read, or one without a run. */
export function parseAddress(address: string, options: PostgresOptions): PostgresAddress {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    // Without a cause: that would hold the address, and with it a password.
    throw new SwarmError('CONFIG_INVALID', 'The address of the database is not of the form postgres://user@host:5432/database?run=NAME.');
  }
  const run = url.searchParams.get('run') ?? options.run;
  if (!run) throw new SwarmError('CONFIG_INVALID', 'No run is named: add ?run=NAME to the address of the database.');
  if (!RUN_NAME.test(run))
    throw new SwarmError('CONFIG_INVALID', `The run may not be called "${run}": 1 to 54 letters, digits, "_", "." and "-" are allowed.`);
  url.searchParams.delete('run');
  const config: ClientConfig = {
    connectionString: url.href,
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    query_timeout: QUERY_TIMEOUT,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE,
  };
  try {
    const { host, port, database } = new Client(config); // knows the defaults and the environment
    return { config, run, name: `run ${run} in PostgreSQL at ${host}:${port}/${database}`, schema: `"starling_${run}"` };
  } catch (error) {
    throw new SwarmError('CONFIG_INVALID', `The address of the database cannot be used: ${reasonOf(error)}.`);
  }
}

/** What happened. A name with several addresses fails with an error that has no message, but one per address. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ');
  return error instanceof Error ? error.message || error.name : String(error);
}
