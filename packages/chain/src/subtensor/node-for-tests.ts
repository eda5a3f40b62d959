/**
 * A Substrate node of tests: JSON-RPC over a WebSocket, with a real runtime's metadata, storage in its real encoding, and a
 * pool that takes extrinsics apart and looks at their signatures as a node does.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { expandMetadata, Metadata, TypeRegistry } from '@polkadot/types';
import type { DispatchError, Header } from '@polkadot/types/interfaces';
import type { StorageEntry } from '@polkadot/types/primitive/types';
import { toHex } from '@starling/protocol';
import { type WebSocket, WebSocketServer } from 'ws';
import { key } from '../dev/for-tests.ts';
import { fromHex, isSr25519 } from '../identity/index.ts';

const FILE = 'chain/subtensor-metadata-v16.scale';
/** Beside the repository or in it. */
const PLACES = ['../../../../../shared', '../../../../shared'].map((place) => resolve(import.meta.dirname, place, FILE));

/** Of a real subtensor runtime; null, and `explain` is told, where there is none. */
export function findMetadata(explain: (why: string) => void): Uint8Array | null {
  const path = PLACES.find((place) => existsSync(place));
  if (!path) explain(`The tests of SubtensorChain are skipped: no ${FILE} in ${PLACES.join(' or ')}.`);
  return path ? readFileSync(path) : null;
}

const NOTHING = `0x${'00'.repeat(32)}`;
/** As JSON-RPC has it. */
const headerOf = (number: number, parentHash: string) => ({
  ...{ parentHash, number: `0x${number.toString(16)}`, stateRoot: NOTHING, extrinsicsRoot: NOTHING, digest: { logs: [] } },
});
const plain = new TypeRegistry();
const hashOf = (header: object) => (plain.createType('Header', header) as Header).hash.toHex();

export const GENESIS = hashOf(headerOf(0, NOTHING));
/** As of subtensor; its only runtime API is the one that gives metadata. */
export const VERSION = {
  ...{ specName: 'node-subtensor', implName: 'node-subtensor', authoringVersion: 1, specVersion: 425, implVersion: 1 },
  ...{ apis: [['0x37e397fc7c91f5e4', 2]], transactionVersion: 1, stateVersion: 1 },
};

export const NETUID = 9;

type Storage = Record<string, Record<string, StorageEntry>>;
type Refusal = { code: number; message: string; data?: string };

export class TestNode {
  readonly #registry = new TypeRegistry();
  readonly #query: Storage;
  /** SCALE. */
  metadata: Uint8Array;
  readonly #server: WebSocketServer;
  readonly #storage = new Map<string, string>();
  readonly #blocks: { hash: string; header: object; extrinsics: string[]; events: string | null }[] = [
    { hash: GENESIS, header: headerOf(0, NOTHING), extrinsics: [], events: null },
  ];
  version = VERSION;
  genesis = GENESIS;
  metadataReads = 0;
  /** Keys of storage that were asked for. */
  read: string[] = [];
  /** Methods that it leaves unanswered. */
  silent = new Set<string>();
  /** Methods that it refuses. */
  refuses = new Set<string>();
  /** What it says instead of its answers, made of the request's id. */
  says: ((id: number) => string | Uint8Array) | null = null;
  /** Connections that were made so far. */
  lines = 0;
  /** What the next extrinsic meets: in the pool, or once it is in a block (the runtime's error). */
  poolRefusal: Refusal | null = null;
  moduleError: string | null = null;
  /** Whether what is taken gets into a block. */
  finalises = true;
  #askers: { method: string; resolve(): void }[] = [];
  /** Told between the pool and the final block. */
  statuses: unknown[] = ['ready', { broadcast: [] }];
  readonly nonces = new Map<string, number>();
  /** What was taken, decoded. */
  readonly taken: { signer: string; method: string; args: unknown; call: string }[] = [];

  private constructor(metadata: Uint8Array, server: WebSocketServer) {
    this.metadata = metadata;
    const read = new Metadata(this.#registry, metadata);
    this.#registry.setMetadata(read, undefined, undefined, true);
    this.#query = expandMetadata(this.#registry, read).query as unknown as Storage;
    this.#server = server;
    server.on('connection', (socket) => {
      this.lines += 1;
      socket.on('message', (data) => this.#asked(socket, String(data)));
    });
  }

  static async start(metadata: Uint8Array): Promise<TestNode> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await new Promise((done) => server.once('listening', done));
    return new TestNode(metadata, server);
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Puts a value there, in the type that the metadata gives it. */
  set(pallet: string, entry: string, args: readonly unknown[], value: unknown): void {
    const { type } = this.#query[pallet]![entry]!.meta;
    const encoded = this.#registry.createType(this.#registry.createLookupType(type.isMap ? type.asMap.value : type.asPlain) as 'u8', value);
    this.setBytes(pallet, entry, args, `0x${toHex(encoded.toU8a())}`);
  }

  /** Whatever bytes, in hex. */
  setBytes(pallet: string, entry: string, args: readonly unknown[], bytes: string): void {
    this.#storage.set(this.key(pallet, entry, args), bytes);
  }

  /** Of storage, in hex. */
  key(pallet: string, entry: string, args: readonly unknown[]): string {
    return this.#registry.createType('StorageKey', [this.#query[pallet]![entry]!, args]).toHex();
  }

  /** Hash of the newest block. */
  get head(): string {
    return this.#blocks.at(-1)!.hash;
  }

  /** A further block, empty. Returns its number. */
  nextBlock(): number {
    this.#append([], null);
    return this.#blocks.length - 1;
  }

  #append(extrinsics: string[], events: string | null): string {
    const header = headerOf(this.#blocks.length, this.#blocks.at(-1)!.hash);
    const hash = hashOf(header);
    this.#blocks.push({ hash, header, extrinsics, events });
    return hash;
  }

  /** Resolves when it is asked that the next time. */
  asked(method: string): Promise<void> {
    return new Promise((resolve) => this.#askers.push({ method, resolve }));
  }

  /** Breaks all connections; new ones are taken. */
  breakLines(): void {
    for (const socket of this.#server.clients) socket.terminate();
  }

  async stop(): Promise<void> {
    this.breakLines();
    await new Promise((done) => this.#server.close(done));
  }

  #asked(socket: WebSocket, text: string): void {
    const { id, method, params } = JSON.parse(text) as { id: number; method: string; params: never[] };
    const isHeard = (one: { method: string }) => one.method === method;
    for (const { resolve } of this.#askers.filter(isHeard)) resolve();
    this.#askers = this.#askers.filter((one) => !isHeard(one));
    if (this.silent.has(method)) return;
    if (this.says) {
      socket.send(this.says(id));
      return;
    }
    const answer = (body: object) => socket.send(JSON.stringify({ jsonrpc: '2.0', id, ...body }));
    if (this.refuses.has(method)) answer({ error: { code: -32_601, message: 'Method not found' } });
    else if (method === 'author_submitAndWatchExtrinsic') this.#submitted(socket, answer, params[0]!);
    else answer({ result: this.#result(method, params) });
  }

  #result(method: string, params: readonly never[]): unknown {
    const best = this.#blocks.at(-1)!;
    const at = (hash: string | undefined) => this.#blocks.find((block) => block.hash === (hash ?? best.hash));
    switch (method) {
      case 'chain_getBlockHash':
        return params[0] === 0 ? this.genesis : best.hash;
      case 'chain_getFinalizedHead':
        return best.hash;
      case 'chain_getHeader':
        return at(params[0])?.header ?? null;
      case 'chain_getBlock': {
        const block = at(params[0]);
        return block ? { block: { header: block.header, extrinsics: block.extrinsics }, justifications: null } : null;
      }
      case 'state_getRuntimeVersion':
        return this.version;
      case 'state_subscribeRuntimeVersion':
        return 'versions';
      case 'state_call':
        return params[0] === 'Metadata_metadata_versions' ? '0x0410000000' : this.#metadataAt(params[1]!);
      case 'state_getStorage':
        return params[0] === this.key('system', 'events', []) ? at(params[1])!.events : (this.#storage.get(params[0]!) ?? null);
      case 'state_queryStorageAt':
        this.read.push(...(params[0] as string[]));
        return [{ block: best.hash, changes: (params[0] as string[]).map((key) => [key, this.#storage.get(key) ?? null]) }];
      case 'system_accountNextIndex':
        return this.nonces.get(params[0]!) ?? 0;
      case 'system_chain':
        return 'Bittensor';
      case 'system_properties':
        return { ss58Format: 42, tokenDecimals: 9, tokenSymbol: 'TAO' };
      case 'rpc_methods':
        return { methods: METHODS };
      default:
        return null;
    }
  }

  #metadataAt(version: string): string {
    if (version !== '0x10000000') return '0x00';
    this.metadataReads += 1;
    return `0x01${toHex(this.#registry.createType('Bytes', `0x${toHex(this.metadata)}`).toU8a())}`;
  }

  #submitted(socket: WebSocket, answer: (body: object) => void, extrinsic: string): void {
    const refused = this.poolRefusal ?? this.#take(extrinsic);
    this.poolRefusal = null;
    if (refused) {
      answer({ error: refused });
      return;
    }
    answer({ result: 'sub1' });
    const tell = (result: unknown) =>
      socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'author_extrinsicUpdate', params: { subscription: 'sub1', result } }));
    for (const status of this.statuses) tell(status);
    if (!this.finalises) return;
    const hash = this.#append(['0x', extrinsic], this.#events());
    tell({ inBlock: hash });
    tell({ finalized: hash });
  }

  /** As a node's pool: the signature is over what the signed extensions say, in their order (runtime/src/lib.rs), and the nonce is next. */
  #take(hex: string): Refusal | null {
    const extrinsic = this.#registry.createType('Extrinsic', hex);
    const signer = extrinsic.signer.toString();
    const expected = this.nonces.get(signer) ?? 0;
    if (extrinsic.nonce.toNumber() !== expected) return { code: 1010, message: 'Invalid Transaction', data: 'Transaction is outdated' };
    const signed = concatAll(
      extrinsic.method.toU8a(),
      extrinsic.era.toU8a(),
      extrinsic.nonce.toU8a(),
      extrinsic.tip.toU8a(),
      [0],
      u32(this.version.specVersion),
      u32(this.version.transactionVersion),
      fromHex(GENESIS)!,
      fromHex(this.#blocks.at(-1)!.hash)!,
      [0],
    );
    const text = signed.length > 256 ? this.#registry.hash(signed).toU8a() : signed;
    const signature = extrinsic.signature.toU8a(true).slice(-64);
    if (!isSr25519(text, signature, extrinsic.signer.value.toU8a()))
      return { code: 1010, message: 'Invalid Transaction', data: 'Transaction has a bad signature' };
    this.nonces.set(signer, expected + 1);
    const { section, method } = extrinsic.method;
    const { args } = extrinsic.method.toHuman() as { args: unknown };
    this.taken.push({ signer, method: `${section}.${method}`, args, call: extrinsic.method.toHex() });
    return null;
  }

  /** `Vec<EventRecord>` of the block's two extrinsics: the inherent went well; ours went as `moduleError` says. */
  #events(): string {
    const [system, success, failed, module] = [0, 0, 1, 3];
    // Phase ApplyExtrinsic, event, DispatchInfo (weight, class, pays), no topics.
    const record = (index: number, event: ArrayLike<number>) => concatAll([0], u32(index), [system], event, [4, 4, 0, 1], [0]);
    const ours = this.moduleError ? concatAll([failed, module, SUBTENSOR_PALLET], fromHex(this.#errorOf(this.moduleError))!) : [success];
    this.moduleError = null;
    return `0x${toHex(concatAll([2 << 2], record(0, [success]), record(1, ours)))}`;
  }

  /** The four bytes of an error of the pallet. */
  #errorOf(name: string): string {
    for (let number = 0; number < 256; number++) {
      const error = `0x${number.toString(16).padStart(2, '0')}000000`;
      const dispatched = this.#registry.createType('DispatchError', { Module: { index: SUBTENSOR_PALLET, error } }) as DispatchError;
      if (this.#registry.findMetaError(dispatched.asModule).name === name) return error;
    }
    throw new Error(`the runtime has no error ${name}`);
  }
}

const SUBTENSOR_PALLET = 7;
/** Those that the library looks for. */
const METHODS = ['author_submitAndWatchExtrinsic', 'chain_getBlock', 'chain_getFinalizedHead', 'chain_getHeader', 'state_queryStorageAt'];

const u32 = (value: number) => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];

const concatAll = (...parts: readonly ArrayLike<number>[]) => Uint8Array.from(parts.flatMap((part) => Array.from(part)));

/** Subnet 9 with its owner, a validator and a miner, of the development keys of these names; values that no default has. */
export function fillSubnet(node: TestNode): void {
  const set = (entry: string, value: unknown) => node.set('subtensorModule', entry, [NETUID], value);
  set('networksAdded', true);
  const numbers = { tempo: 360, burn: 123_456_789, subnetworkN: 3, maxAllowedUids: 256, maxAllowedValidators: 64, minAllowedWeights: 1 };
  const more = {
    maxWeightsLimit: 65_535,
    weightsSetRateLimit: 100,
    weightsVersionKey: 7,
    revealPeriodEpochs: 2,
    lastMechansimStepBlock: 5,
  };
  for (const [entry, value] of Object.entries({ ...numbers, ...more })) set(entry, value);
  set('commitRevealWeightsEnabled', false);
  set('lastUpdate', [1, 2, 3]);
  set('validatorPermit', [false, true, false]);
  set('active', [true, true, false]);
  const shares = { stakeWeight: [0, 65_535, 0], consensus: [0, 0, 40_000], incentive: [0, 0, 65_535], dividends: [0, 65_535, 0] };
  for (const [entry, value] of Object.entries({ ...shares, validatorTrust: [0, 60_000, 0], emission: [0, 41_000, 40_999] }))
    set(entry, value);
  node.set('subtensorModule', 'stakeThreshold', [], 1_000_000_000_000);
  ['owner-hot', 'v1', 'm1'].forEach((name, uid) => {
    const hotkey = key(name).address;
    node.set('subtensorModule', 'keys', [NETUID, uid], hotkey);
    node.set('subtensorModule', 'blockAtRegistration', [NETUID, uid], 10 + uid);
    node.set('subtensorModule', 'owner', [hotkey], key('cold').address);
    node.set('subtensorModule', 'totalHotkeyAlpha', [hotkey, NETUID], 1_000 * uid);
  });
}
