/**
 * One version of the chain's runtime, as its metadata describes it: names of storage to keys, bytes to values, calls to
 * bytes. What this release relies on and the metadata lacks is `CHAIN_INCOMPATIBLE`, by name.
 */

import { expandMetadata, Metadata, TypeRegistry } from '@polkadot/types';
import type { DispatchError, Call as RuntimeCall } from '@polkadot/types/interfaces';
import type { StorageEntry } from '@polkadot/types/primitive/types';
import type { Codec } from '@polkadot/types/types';
import { SwarmError } from '@starling/protocol';
import * as v from 'valibot';
import { fromHex } from '../identity/index.ts';
import { Hex, type Rpc } from './rpc.ts';

const version = v.pipe(v.number(), v.integer(), v.minValue(0));
export const RuntimeVersion = v.object({ specVersion: version, transactionVersion: version });
export type RuntimeVersion = v.InferOutput<typeof RuntimeVersion>;

/** Metadata versions, the newest first, that the codec reads. */
const METADATA_VERSIONS = [16, 15];

const KNOWN_EXTENSIONS = new Set([
  'CheckNonZeroSender',
  'CheckSpecVersion',
  'CheckTxVersion',
  'CheckGenesis',
  'CheckMortality',
  'CheckNonce',
  'CheckWeight',
  'ChargeTransactionPayment',
  'CheckMetadataHash',
]);

type Names<T> = Record<string, Record<string, T>>;

export class Runtime {
  readonly version: RuntimeVersion;
  readonly registry: TypeRegistry;
  readonly #query: Names<StorageEntry>;
  readonly #tx: Names<(...args: unknown[]) => RuntimeCall>;

  /** `metadata`: SCALE, in hex. `known`: signed extensions that the codec fills in itself; others must hold nothing. */
  constructor(version: RuntimeVersion, metadata: `0x${string}`, known: ReadonlySet<string> = KNOWN_EXTENSIONS) {
    this.version = version;
    this.registry = new TypeRegistry();
    const read = new Metadata(this.registry, metadata);
    const extensions = read.asLatest.extrinsic.transactionExtensions;
    this.registry.setMetadata(read, undefined, undefined, true);
    const isNothing = (type: Codec) => ['Null', '()'].includes(this.registry.lookup.getTypeDef(type as never).type);
    const unknown = extensions.filter(({ identifier }) => !known.has(identifier.toString()));
    const harmful = unknown.find(({ type, implicit }) => !isNothing(type) || !isNothing(implicit));
    if (harmful) throw new SwarmError('CHAIN_INCOMPATIBLE', `The runtime wants ${harmful.identifier} in every signed call.`);
    const empty = Object.fromEntries(unknown.map(({ identifier }) => [identifier.toString(), { extrinsic: {}, payload: {} }]));
    this.registry.setSignedExtensions(
      extensions.map(({ identifier }) => identifier.toString()),
      empty,
    );
    const expanded = expandMetadata(this.registry, read);
    this.#query = expanded.query as unknown as Names<StorageEntry>;
    this.#tx = expanded.tx as unknown as Names<(...args: unknown[]) => RuntimeCall>;
  }

  static async load(rpc: Rpc): Promise<Runtime> {
    const version = await rpc.request('state_getRuntimeVersion', [], RuntimeVersion);
    const metadata = await readMetadata(rpc);
    return understood('The node’s metadata', () => new Runtime(version, metadata));
  }

  has(pallet: string, entry: string): boolean {
    return this.#query[pallet]?.[entry] !== undefined;
  }

  hasCall(pallet: string, name: string): boolean {
    return this.#tx[pallet]?.[name] !== undefined;
  }

  /** Storage key, in hex. */
  key(pallet: string, entry: string, ...args: readonly unknown[]): string {
    return this.registry.createType('StorageKey', [this.#entry(pallet, entry), args]).toHex();
  }

  /** What lies there; the runtime's default when nothing does. `bytes`: SCALE, in hex. */
  decode<T extends Codec>(pallet: string, entry: string, bytes: string | null): T {
    const { meta } = this.#entry(pallet, entry);
    const type = this.registry.createLookupType(meta.type.isMap ? meta.type.asMap.value : meta.type.asPlain);
    const value = bytes === null ? meta.fallback.toU8a(true) : fromHex(bytes);
    return understood(`What the node has of ${pallet}.${entry}`, () => this.registry.createTypeUnsafe(type, [value]) as T);
  }

  /** A call by its pallet and name, its arguments by theirs. */
  call(pallet: string, name: string, args: Readonly<Record<string, unknown>>): RuntimeCall {
    const make = this.#tx[pallet]?.[name];
    if (!make) throw this.#lacks(`the call ${pallet}.${name}`);
    const wanted = (make as unknown as { meta: { args: { name: { toString(): string } }[] } }).meta.args.map((arg) => arg.name.toString());
    if (wanted.join() !== Object.keys(args).join()) throw this.#lacks(`${pallet}.${name} (${Object.keys(args).join(', ')})`);
    return make(...Object.values(args));
  }

  /** The runtime's name of an error, `SettingWeightsTooFast` say. */
  errorName(error: DispatchError): string {
    return error.isModule ? this.registry.findMetaError(error.asModule).name : error.type;
  }

  #entry(pallet: string, entry: string): StorageEntry {
    const found = this.#query[pallet]?.[entry];
    if (!found) throw this.#lacks(`the storage ${pallet}.${entry}`);
    return found;
  }

  #lacks(what: string): SwarmError {
    return new SwarmError('CHAIN_INCOMPATIBLE', `The runtime (spec ${this.version.specVersion}) does not have ${what}.`);
  }
}

/** What the codec makes of a node's bytes. Throws `CHAIN_INCOMPATIBLE` where it makes nothing of them. */
function understood<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof SwarmError) throw error;
    throw new SwarmError('CHAIN_INCOMPATIBLE', `${what} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

async function readMetadata(rpc: Rpc): Promise<`0x${string}`> {
  const registry = new TypeRegistry();
  for (const version of METADATA_VERSIONS) {
    const asked = ['Metadata_metadata_at_version', registry.createType('u32', version).toHex(true)];
    const answer = await rpc.request('state_call', asked, Hex);
    // As bytes: of a text the codec would take the first for content.
    const metadata = understood('The node’s metadata', () => registry.createType('Option<Bytes>', fromHex(answer)));
    if (metadata.isSome) return metadata.unwrap().toHex();
  }
  return (await rpc.request('state_getMetadata', [], Hex)) as `0x${string}`;
}
