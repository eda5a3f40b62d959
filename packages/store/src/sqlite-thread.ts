/**
 * `SqliteStore` in a thread of its own: the event loop never waits for a disk. Calls are answered in the order in which
 * they were made. A thread that dies is not started again: its server is, and reads the log anew.
 */
import { Worker } from 'node:worker_threads';
import { SwarmError, type WireError } from '@starling/protocol';
import type { SqliteOptions } from './sqlite-file.ts';
import type { Batch, Entry, RowQuery, Snapshot, Store, StoredRow, StoredTensor } from './store.ts';

type Method = Exclude<keyof Store, 'name'>;
/** What the thread is told. */
export type Call = { [M in Method]: { id: number; method: M; args: Parameters<Store[M]> } }[Method];
/** What it says: once `OPENED`, with the store's name, then the result of each call. */
export type Answer = { id: number; result: unknown } | { id: number; error: WireError };
export const OPENED = 0;

export interface ThreadData extends SqliteOptions {
  path: string;
}

interface ThreadOptions extends SqliteOptions {
  /** For tests that kill it. */
  onWorker?: (worker: Worker) => void;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: SwarmError): void;
}

export class SqliteThread implements Store {
  readonly name: string;
  readonly #worker: Worker;
  readonly #open = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #calls = OPENED;
  /** Why no call is possible any more. */
  #ended: SwarmError | null = null;

  /** Throws `LOG_UNREADABLE`, `DATA_IN_USE` or `STORE_FAILED` as `openSqlite` does. */
  static async open(path: string, { synchronous, onWorker }: ThreadOptions = {}): Promise<SqliteThread> {
    const workerData: ThreadData = { path, synchronous };
    const worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), { workerData });
    onWorker?.(worker);
    const store = new SqliteThread(worker, path);
    try {
      await new Promise((resolve, reject) => store.#open.set(OPENED, { resolve, reject }));
    } catch (error) {
      await store.#exited;
      throw error;
    }
    return store;
  }

  private constructor(worker: Worker, path: string) {
    this.name = `the store in ${path}, in a thread`;
    this.#worker = worker;
    worker.on('message', (answer: Answer) => this.#settle(answer));
    worker.on('messageerror', (error) => {
      this.#end(`sent something unreadable (${error.message})`);
      void worker.terminate();
    });
    worker.on('error', (error) => this.#end(`died (${error instanceof Error ? error.message : String(error)})`));
    this.#exited = new Promise((resolve) => {
      worker.on('exit', (code) => {
        this.#end(`ended (exit code ${code})`);
        resolve();
      });
    });
  }

  async append({ entries, rows, tensors, released }: Batch): Promise<void> {
    // A frame is copied once and its copy handed over: cloning a view would copy all of the buffer that it looks into.
    const copies = tensors.map((tensor) => ({ ...tensor, frame: tensor.frame && new Uint8Array(tensor.frame) }));
    const buffers = copies.flatMap(({ frame }) => (frame ? [frame.buffer] : []));
    return this.#call('append', [{ entries, rows, tensors: copies, released }], buffers);
  }

  lastSeq = (): Promise<number> => this.#call('lastSeq', []);
  entries = (after: number, limit: number): Promise<Entry[]> => this.#call('entries', [after, limit]);
  saveSnapshot = (snapshot: Snapshot): Promise<void> => this.#call('saveSnapshot', [snapshot]);
  snapshot = (through: number): Promise<Snapshot | null> => this.#call('snapshot', [through]);
  rows = (kind: string, query: RowQuery): Promise<StoredRow[]> => this.#call('rows', [kind, query]);
  tensors = (): Promise<StoredTensor[]> => this.#call('tensors', []);

  async close(): Promise<void> {
    // The thread answers what was asked before, closes its store and ends; a dead one has ended already.
    if (!this.#ended) this.#call('close', []).catch(() => {});
    this.#ended ??= new SwarmError('STORE_FAILED', `The call came too late: ${this.name} is closed.`);
    await this.#exited;
  }

  async #call<T>(method: Method, args: unknown[], transfer: ArrayBuffer[] = []): Promise<T> {
    if (this.#ended) throw this.#ended;
    const id = ++this.#calls;
    try {
      this.#worker.postMessage({ id, method, args }, transfer);
    } catch (error) {
      throw new SwarmError('STORE_FAILED', `${this.name} could not be given a call: ${(error as Error).message}.`, { cause: error });
    }
    return new Promise<T>((resolve, reject) => this.#open.set(id, { resolve: resolve as Waiting['resolve'], reject }));
  }

  #settle(answer: Answer): void {
    const waiting = this.#open.get(answer.id);
    this.#open.delete(answer.id);
    if ('error' in answer) waiting?.reject(SwarmError.fromWire(answer.error));
    else waiting?.resolve(answer.result);
  }

  #end(how: string): void {
    const error = new SwarmError('STORE_FAILED', `The thread of ${this.name} ${how}: what was not acknowledged may not be stored.`);
    this.#ended ??= error;
    for (const { reject } of this.#open.values()) reject(error);
    this.#open.clear();
  }
}
