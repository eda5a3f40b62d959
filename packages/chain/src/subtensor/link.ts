/**
 * One line to a node, and what `@polkadot/api` knows of the chain at its other end. A line that broke, or at which something was
 * said that is no JSON-RPC, is over, and everything that waits on it.
 */
import { ApiPromise, WsProvider } from '@polkadot/api';
import { allExtensions } from '@polkadot/types/extrinsic/signedExtensions';
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';
import type { Where } from './api-thread.ts';
import { read } from './reads.ts';

/** For one answer of the node, inside of what the whole question may take. */
const ANSWER_MS = 30_000;
/** Characters shown of what a node said that should not be. */
const QUOTED = 100;
/** The library's for an error that has none. */
const NO_CODE = -99_999;
/** Subtensor's name for its own runtime. */
const SPEC_NAME = 'node-subtensor';

const Hash = v.pipe(v.string(), v.regex(/^0x[0-9a-f]{64}$/));
/** A block's number, which JSON-RPC has in hex. */
const Header = v.object({ number: v.pipe(v.string(), v.regex(/^0x[0-9a-f]{1,8}$/), v.transform(Number)) });
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const RuntimeVersion = v.object({ specName: v.string(), specVersion: count });

/** What fails on the way, and is no refusal of the node's, ends the line. */
class Provider extends WsProvider {
  failed = (_: string) => {};

  override async send<T>(...request: Parameters<WsProvider['send']>): Promise<T> {
    try {
      return await super.send<T>(...request);
    } catch (error) {
      if (refusalCode(error) === undefined) this.failed((error as Error).message);
      throw error;
    }
  }
}

export class Link {
  /** Resolves when its connection is closed. */
  readonly gone: Promise<void>;
  /** Why it is over. */
  ended: SwarmError | null = null;
  readonly #where: Where;
  readonly #provider: Provider;
  readonly #api: Promise<ApiPromise>;
  readonly #lost = Promise.withResolvers<never>();
  readonly #closed = Promise.withResolvers<void>();
  #isOpened = false;
  #specVersion = 0;
  #why = '';

  /** Connects once `before` resolves, so that there is never more than one connection. */
  constructor(where: Where, before: Promise<void>) {
    this.#where = where;
    this.gone = this.#closed.promise;
    this.#provider = new Provider(where.endpoint, false, {}, ANSWER_MS);
    this.#provider.failed = (how) => this.end(`did not answer as it should: ${how}`);
    this.#provider.on('error', (error) => {
      const { message } = error as { message?: string };
      if (message) this.#why = `: ${message}`;
    });
    this.#provider.on('disconnected', () => {
      this.#closed.resolve();
      this.end(`cannot be reached, or broke the connection${this.#why}`);
    });
    this.#api = this.#open(before);
    this.#lost.promise.catch(() => {}); // there may be nobody who waits
    this.#api.catch((error: unknown) => this.#endAs(told(error)));
  }

  /** What `task` returns. Throws `CHAIN_UNREACHABLE`, `CHAIN_WRONG_NETWORK`, `CHAIN_INCOMPATIBLE` or `CHAIN_REFUSED`. */
  async use<T>(task: (api: ApiPromise) => Promise<T>): Promise<T> {
    try {
      return await Promise.race([this.#api.then(task), this.#lost.promise]);
    } catch (error) {
      throw this.ended ?? told(error);
    }
  }

  /** `why`: what the node did. Everybody who waits is told. */
  end(why: string): void {
    this.#endAs(this.#unreachable(why));
  }

  #endAs(error: SwarmError): void {
    if (this.ended) return;
    this.ended = error;
    this.#lost.reject(error);
    if (this.#isOpened) void this.#provider.disconnect();
    else this.#closed.resolve();
  }

  bestHash(): Promise<string> {
    return this.#ask('chain_getBlockHash', [], Hash);
  }

  async numberOf(hash: string): Promise<number> {
    return (await this.#ask('chain_getHeader', [hash], Header)).number;
  }

  /** With what is not in a block yet. */
  nextNonce(account: string): Promise<number> {
    return this.#ask('system_accountNextIndex', [account], count);
  }

  /** False once the chain was upgraded: what was read of its runtime does not hold any more. */
  async isCurrent(): Promise<boolean> {
    return (await this.#ask('state_getRuntimeVersion', [], RuntimeVersion)).specVersion === this.#specVersion;
  }

  async #open(before: Promise<void>): Promise<ApiPromise> {
    const { endpoint, genesis, netuid } = this.#where;
    await before;
    if (this.ended) throw this.ended;
    this.#isOpened = true;
    await this.#provider.connect();
    await this.#provider.isReady;
    const network = (await this.#ask('chain_getBlockHash', [0], Hash)).slice(2);
    const { specName, specVersion } = await this.#ask('state_getRuntimeVersion', [], RuntimeVersion);
    const wrong = (what: string) => new SwarmError('CHAIN_WRONG_NETWORK', `At ${endpoint} ${what}.`);
    if (genesis !== null && network !== genesis) throw wrong(`is the chain ${network}, not ${genesis}`);
    if (specName !== SPEC_NAME) throw wrong(`is a chain of ${JSON.stringify(specName.slice(0, QUOTED))}, not of ${SPEC_NAME}`);
    this.#specVersion = specVersion;
    const api = new ApiPromise({ provider: this.#provider, noInitWarn: true, initWasm: false });
    await api.isReadyOrError;
    assertSignable(api);
    const [exists] = await read(await api.at(await this.bestHash()), [['networksAdded', netuid]]);
    if (!exists!.eq(true)) throw wrong(`the chain has no subnet ${netuid}`);
    return api;
  }

  /** What the library would take for zeros (null, say) ends the line. */
  async #ask<T>(method: string, params: unknown[], form: v.GenericSchema<unknown, T>): Promise<T> {
    const answer = await this.#provider.send<unknown>(method, params);
    const parsed = v.safeParse(form, answer);
    if (parsed.success) return parsed.output;
    const why = `answered ${method} as nothing is answered: ${JSON.stringify(answer).slice(0, QUOTED)}`;
    this.end(why);
    throw this.#unreachable(why);
  }

  #unreachable(what: string): SwarmError {
    return new SwarmError('CHAIN_UNREACHABLE', `The node at ${this.#where.endpoint} ${what}.`);
  }
}

/** JSON-RPC: the node's own code for why it refuses; undefined for any other error. */
export function refusalCode(error: unknown): number | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === 'number' && code !== NO_CODE ? code : undefined;
}

/** What the library throws is of no kind, unless it is the node's refusal: it could not read what the node said. */
function told(error: unknown): SwarmError {
  if (error instanceof SwarmError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (refusalCode(error) !== undefined) return new SwarmError('CHAIN_REFUSED', `The node refused: ${message}`, { cause: error });
  return new SwarmError('CHAIN_INCOMPATIBLE', `What the node says cannot be read: ${message}`, { cause: error });
}

/** The library signs without what it does not know. Throws `CHAIN_INCOMPATIBLE` unless that holds nothing. */
function assertSignable({ runtimeMetadata, registry }: ApiPromise): void {
  const isNothing = (type: unknown) => ['Null', '()'].includes(registry.lookup.getTypeDef(type as never).type);
  const harmful = runtimeMetadata.asLatest.extrinsic.transactionExtensions.find(
    ({ identifier, type, implicit }) => !Object.hasOwn(allExtensions, identifier.toString()) && !(isNothing(type) && isNothing(implicit)),
  );
  if (harmful) throw new SwarmError('CHAIN_INCOMPATIBLE', `The runtime wants ${harmful.identifier} in every signed call.`);
}
