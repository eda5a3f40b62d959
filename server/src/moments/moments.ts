/** The run as it was at any entry of its log. The thread that reads the log is started when somebody asks for the first time. */
import { Worker } from 'node:worker_threads';
import { type Moment, type MomentRange, SwarmError } from '@starling/protocol';
import type { FastifyInstance } from 'fastify';
import { wholeNumber } from '../queries.ts';
import type { MomentAnswer, MomentRequest } from './moments-worker.ts';

/** Moments that were asked for lately, by entry: whoever shares one has others ask for the same. */
const KEPT = 64;
/** Waiting at once; more than that and it is asked again later. */
const MOST_WAITING = 32;

export class Moments {
  private readonly store: string;
  private worker: Worker | null = null;
  private next = 0;
  private readonly pending = new Map<number, { resolve(answer: MomentAnswer): void; reject(error: SwarmError): void }>();
  private readonly kept = new Map<number, Promise<Moment>>();

  /** `store`: where the log is, as `openReader` takes it. */
  constructor(store: string) {
    this.store = store;
  }

  /** Throws `NOT_FOUND`, `BUSY`, `LOG_UNREADABLE` or `STORE_FAILED`. */
  async range(): Promise<MomentRange> {
    return ((await this.ask({ type: 'range' })) as { range: MomentRange }).range;
  }

  /** Throws as `range`. */
  async at(seq: number): Promise<Moment> {
    const found = this.kept.get(seq) ?? this.ask({ type: 'moment', seq }).then((answer) => (answer as { moment: Moment }).moment);
    this.kept.delete(seq);
    this.kept.set(seq, found);
    found.catch(() => this.kept.delete(seq));
    for (const old of this.kept.keys()) if (this.kept.size > KEPT) this.kept.delete(old);
    return found;
  }

  async close(): Promise<void> {
    await this.worker?.terminate();
  }

  private ask(request: { type: 'range' } | { type: 'moment'; seq: number }): Promise<MomentAnswer> {
    if (this.pending.size >= MOST_WAITING) return Promise.reject(new SwarmError('BUSY', 'Many moments of the log are being looked up.'));
    this.worker ??= this.start();
    const id = this.next++;
    const { promise, resolve, reject } = Promise.withResolvers<MomentAnswer>();
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
      else waiting?.resolve(answer);
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
  http.get('/v1/moments', () => moments.range());
  http.get<{ Params: { seq: string } }>('/v1/moments/:seq', ({ params }) => moments.at(wholeNumber('The entry', params.seq)));
}
