/**
 * JSON-RPC 2.0 to a Substrate node over one WebSocket, which is opened when it is needed and again when it was lost. A node is not
 * trusted to speak it: what is not of the form that was asked for, or does not come in time, ends the line and everything that
 * waits on it (`CHAIN_UNREACHABLE`), and nothing else.
 */
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';

/** A node under load answers late; one that does not answer at all should not hold anybody up for long. */
const TIMEOUT_MS = 30_000;
/** Characters shown of what a node said that should not be. */
const QUOTED = 100;

/** Does `task` after so many ms, unless what it returns is called before. */
export type After = (ms: number, task: () => void) => () => void;

/** Bytes. */
export const Hex = v.pipe(
  v.string(),
  v.regex(/^0x[0-9a-f]*$/),
  v.check((text) => text.length % 2 === 0),
);
export const Hash = v.pipe(v.string(), v.regex(/^0x[0-9a-f]{64}$/));
/** A block's number, which JSON-RPC has in hex. */
export const Header = v.object({ number: v.pipe(v.string(), v.regex(/^0x[0-9a-f]{1,8}$/), v.transform(Number)) });

const Name = v.union([v.string(), v.number()]);
const Answer = v.union([
  v.object({ id: v.number(), error: v.object({ code: v.number(), message: v.string(), data: v.optional(v.unknown()) }) }),
  v.object({ id: v.number(), result: v.unknown() }),
]);
const Message = v.union([v.object({ params: v.object({ subscription: Name, result: v.unknown() }) }), Answer]);

interface Pending {
  method: string;
  /** The form of the answer. */
  form: v.GenericSchema;
  resolve(result: unknown): void;
  reject(error: SwarmError): void;
  stopWaiting(): void;
}

/** The node's own refusal: its code and text. */
export class RpcError extends SwarmError {
  readonly rpcCode: number;

  constructor(rpcCode: number, message: string) {
    super('CHAIN_REFUSED', message);
    this.rpcCode = rpcCode;
  }
}

/** What follows a subscription: its messages, all of one form, and the loss of the connection. */
export interface Follower<T = unknown> {
  form: v.GenericSchema<unknown, T>;
  message(value: T): void;
  lost(error: SwarmError): void;
}

export class Rpc {
  readonly url: string;
  readonly #after: After;
  #line: Line | null = null;
  #closed = false;

  constructor(url: string, after: After) {
    this.url = url;
    this.#after = after;
  }

  /** The answer, which is of this form. Throws `RpcError` when the node refuses, `CHAIN_UNREACHABLE` when there is no such answer. */
  async request<T>(method: string, params: readonly unknown[], form: v.GenericSchema<unknown, T>): Promise<T> {
    return (await this.#opened().ask(method, params, form)) as T;
  }

  /** A request that is answered with a subscription's name. Returns what ends it. Throws as `request` does. */
  async follow<T>(method: string, params: readonly unknown[], unsubscribe: string, follower: Follower<T>): Promise<() => void> {
    const line = this.#opened();
    const name = String(await line.ask(method, params, Name, (result) => line.followers.set(String(result), follower as Follower)));
    return () => {
      if (!line.followers.delete(name)) return;
      line.ask(unsubscribe, [name], v.unknown()).catch(() => {}); // gone with its connection, then
    };
  }

  close(): void {
    this.#closed = true;
    this.#line?.end('was left');
  }

  /** Throws `CHAIN_UNREACHABLE` once it is closed. */
  #opened(): Line {
    if (this.#closed) throw unreachable(this.url, 'was left');
    if (!this.#line || this.#line.ended) this.#line = new Line(this.url, this.#after);
    return this.#line;
  }
}

/** One connection, from its opening to its end. */
class Line {
  readonly followers = new Map<string, Follower>();
  /** Why it is over. */
  ended: SwarmError | null = null;
  readonly #url: string;
  readonly #after: After;
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, Pending>();
  /** Asked before it was open. */
  readonly #unsent: string[] = [];
  #count = 0;

  constructor(url: string, after: After) {
    this.#url = url;
    this.#after = after;
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => {
      for (const text of this.#unsent.splice(0)) this.#socket.send(text);
    };
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onclose = () => this.end('cannot be reached, or broke the connection');
  }

  /** `answered` is called at once, before anything else that the node says is looked at. */
  ask(method: string, params: readonly unknown[], form: v.GenericSchema, answered = (_: unknown) => {}): Promise<unknown> {
    if (this.ended) return Promise.reject(this.ended);
    const id = ++this.#count;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const stopWaiting = this.#after(TIMEOUT_MS, () => this.end(`did not answer ${method} in ${TIMEOUT_MS / 1_000} s`));
    const answer = (result: unknown) => {
      answered(result);
      resolve(result);
    };
    this.#pending.set(id, { method, form, resolve: answer, reject, stopWaiting });
    const text = JSON.stringify({ jsonrpc: '2.0', id, method, params });
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(text);
    else this.#unsent.push(text);
    return promise;
  }

  /** `why`: what the node did. Everybody who waits is told. */
  end(why: string): void {
    if (this.ended) return;
    const lost = unreachable(this.#url, why);
    this.ended = lost;
    this.#socket.close();
    for (const waiting of this.#pending.values()) {
      waiting.stopWaiting();
      waiting.reject(lost);
    }
    this.#pending.clear();
    for (const follower of this.followers.values()) follower.lost(lost);
    this.followers.clear();
  }

  #received(data: unknown): void {
    if (this.ended) return;
    const parsed = v.safeParse(Message, fromJson(data));
    if (!parsed.success) this.end(`sent what is no JSON-RPC: ${quoted(data)}`);
    else if ('params' in parsed.output) this.#told(parsed.output.params.subscription, parsed.output.params.result);
    else this.#answered(parsed.output, data);
  }

  #answered(message: v.InferOutput<typeof Answer>, data: unknown): void {
    const waiting = this.#pending.get(message.id);
    const result = waiting && 'result' in message ? v.safeParse(waiting.form, message.result) : null;
    if (!waiting || result?.success === false) {
      this.end(`answered ${waiting?.method ?? 'what nobody asked'} as nothing is answered: ${quoted(data)}`);
      return;
    }
    this.#pending.delete(message.id);
    waiting.stopWaiting();
    if ('error' in message) waiting.reject(refusalOf(message.error));
    else waiting.resolve(result?.output);
  }

  #told(subscription: string | number, value: unknown): void {
    const follower = this.followers.get(String(subscription));
    if (!follower) return; // it was ended while this was on its way
    const parsed = v.safeParse(follower.form, value);
    if (parsed.success) follower.message(parsed.output);
    else this.end(`told of a subscription what cannot be: ${quoted(JSON.stringify(value))}`);
  }
}

/** Undefined when it is none. */
function fromJson(data: unknown): unknown {
  if (typeof data !== 'string') return undefined;
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

const quoted = (data: unknown) => (typeof data === 'string' ? JSON.stringify(data.slice(0, QUOTED)) : 'bytes');

const refusalOf = ({ code, message, data }: { code: number; message: string; data?: unknown }) =>
  new RpcError(code, data === undefined ? message : `${message}: ${typeof data === 'string' ? data : JSON.stringify(data)}`);

const unreachable = (url: string, what: string) => new SwarmError('CHAIN_UNREACHABLE', `The node at ${url} ${what}.`);
