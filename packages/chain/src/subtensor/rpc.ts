/** JSON-RPC 2.0 to a Substrate node over one WebSocket, which is opened when it is needed and again when it was lost. */
import { SwarmError } from '@starling/protocol';

/** A node under load answers late; one that does not answer at all should not hold anybody up for long. */
const TIMEOUT_MS = 30_000;

/** Does `task` after so many ms, unless what it returns is called before. */
export type After = (ms: number, task: () => void) => () => void;

interface Pending {
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

/** What follows a subscription: its messages, and the loss of the connection. */
export interface Follower {
  message(value: unknown): void;
  lost(error: SwarmError): void;
}

export class Rpc {
  readonly url: string;
  readonly #after: After;
  #socket: Promise<WebSocket> | null = null;
  #count = 0;
  readonly #pending = new Map<number, Pending>();
  readonly #followers = new Map<string, Follower>();
  #closed = false;

  constructor(url: string, after: After) {
    this.url = url;
    this.#after = after;
  }

  /** Throws `RpcError` when the node refuses, `CHAIN_UNREACHABLE` when there is no answer. */
  async request<T>(method: string, params: readonly unknown[] = []): Promise<T> {
    return (await this.#ask(method, params, () => {})) as T;
  }

  /** `answered` is called at once, before anything else that the node says is looked at. */
  async #ask(method: string, params: readonly unknown[], answered: (result: unknown) => void): Promise<unknown> {
    const socket = await this.#connected();
    const id = ++this.#count;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const stopWaiting = this.#after(TIMEOUT_MS, () => {
      this.#pending.delete(id);
      reject(this.#unreachable(`did not answer ${method} in ${TIMEOUT_MS / 1_000} s`));
    });
    this.#pending.set(id, {
      resolve: (result) => {
        answered(result);
        resolve(result);
      },
      reject,
      stopWaiting,
    });
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return promise;
  }

  /** A request that is answered with a subscription's name. Returns what ends it. */
  async follow(method: string, params: readonly unknown[], unsubscribe: string, follower: Follower): Promise<() => void> {
    const name = String(await this.#ask(method, params, (result) => this.#followers.set(String(result), follower)));
    return () => {
      if (!this.#followers.delete(name)) return;
      this.request(unsubscribe, [name]).catch(() => {}); // gone with its connection, then
    };
  }

  close(): void {
    this.#closed = true;
    this.#socket?.then((socket) => socket.close()).catch(() => {});
  }

  #connected(): Promise<WebSocket> {
    if (this.#closed) return Promise.reject(this.#unreachable('was left'));
    this.#socket ??= this.#connect();
    return this.#socket;
  }

  #connect(): Promise<WebSocket> {
    const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
    const socket = new WebSocket(this.url);
    socket.onopen = () => resolve(socket);
    socket.onmessage = ({ data }) => this.#received(String(data));
    socket.onclose = () => {
      this.#socket = null;
      const lost = this.#unreachable('cannot be reached, or broke the connection');
      reject(lost);
      for (const waiting of this.#pending.values()) {
        waiting.stopWaiting();
        waiting.reject(lost);
      }
      this.#pending.clear();
      for (const follower of this.#followers.values()) follower.lost(lost);
      this.#followers.clear();
    };
    return promise;
  }

  #received(text: string): void {
    const message = JSON.parse(text) as {
      id?: number;
      result?: unknown;
      error?: { code: number; message: string; data?: unknown };
      params?: { subscription: string | number; result: unknown };
    };
    if (message.params) {
      this.#followers.get(String(message.params.subscription))?.message(message.params.result);
      return;
    }
    const waiting = this.#pending.get(message.id!);
    if (!waiting) return; // too late
    this.#pending.delete(message.id!);
    waiting.stopWaiting();
    const { error } = message;
    if (error) waiting.reject(new RpcError(error.code, error.data === undefined ? error.message : `${error.message}: ${error.data}`));
    else waiting.resolve(message.result);
  }

  #unreachable(what: string): SwarmError {
    return new SwarmError('CHAIN_UNREACHABLE', `The node at ${this.url} ${what}.`);
  }
}
