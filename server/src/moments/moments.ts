/** The run as it was at any entry of its log. The thread that reads the log is started when somebody asks for the first time. */
import { Worker } from 'node:worker_threads';
import { SwarmError } from '@starling/protocol';
import type { FastifyInstance } from 'fastify';
import { wholeNumber } from '../queries.ts';
import type { MomentAnswer, MomentRequest } from './moments-worker.ts';

/** Moments that were asked for lately, by entry: whoever shares one has others ask for the same. A long run's is a megabyte or two. */
const KEPT = 16;
/** Waiting at once; more than that and it is asked again later. */
const MOST_WAITING = 32;
const JSON_TYPE = 'application/json; charset=utf-8';

export class Moments {
  private readonly store: string;
  private worker: Worker | null = null;
  private next = 0;
  private readonly pending = new Map<number, { resolve(json: string): void; reject(error: SwarmError): void }>();
  private readonly kept = new Map<number, Promise<string>>();

  /** `store`: where the log is, as `openReader` takes it. */
  constructor(store: string) {
    this.store = store;
  }

  /** A `MomentRange` as JSON. Throws `NOT_FOUND`, `BUSY`, `LOG_UNREADABLE` or `STORE_FAILED`. */
  range(): Promise<string> {
    return this.ask({ type: 'range' });
  }

  /** A `Moment` as JSON. Throws as `range`. */
  async at(seq: number): Promise<string> {
    const found = this.kept.get(seq) ?? this.ask({ type: 'moment', seq });
    this.kept.delete(seq);
    this.kept.set(seq, found);
    found.catch(() => this.kept.delete(seq));
    for (const old of this.kept.keys()) if (this.kept.size > KEPT) this.kept.delete(old);
    return found;
  }

  async close(): Promise<void> {
    await this.worker?.terminate();
  }

  private ask(request: { type: 'range' } | { type: 'moment'; seq: number }): Promise<string> {
    if (this.pending.size >= MOST_WAITING) return Promise.reject(new SwarmError('BUSY', 'Many moments of the log are being looked up.'));
    this.worker ??= this.start();
    const id = this.next++;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    this.pending.set(id, { resolve, reject });
    this.worker.postMessage({ id, ...request } satisfies MomentRequest);
    return promise;
  }

  private start(): Worker {
    const worker = new Worker(new URL('./moments-worker.ts', import.meta.url), { workerData: { store: this.store } });
    worker.unref();
    worker.on('message', (answer: MomentAnswer) => {
      const waiting = this.pending.get(answer.id);
      this.pending.delete(answer.id);
      if ('error' in answer) waiting?.reject(SwarmError.fromWire(answer.error));
      else waiting?.resolve(answer.json);
    });
    const end = (why: string) => {
      if (this.worker === worker) this.worker = null;
      for (const { reject } of this.pending.values()) reject(new SwarmError('INTERNAL', why));
      this.pending.clear();
    };
    worker.on('error', ({ message }) => end(message));
    worker.on('exit', () => end('The thread that reads the log has ended.'));
    return worker;
  }
}

export function addMomentRoutes(http: FastifyInstance, moments: Moments): void {
  http.get('/v1/moments', async (_request, reply) => reply.type(JSON_TYPE).send(await moments.range()));
  http.get<{ Params: { seq: string } }>('/v1/moments/:seq', async ({ params }, reply) =>
    reply.type(JSON_TYPE).send(await moments.at(wholeNumber('The entry', params.seq))),
  );
}
