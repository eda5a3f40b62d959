/** A call on its way into a block of subtensor: built, signed, sent, and followed until it is final. */
import { blake2b } from '@noble/hashes/blake2.js';
import type { Vec } from '@polkadot/types';
import type { DispatchError, EventRecord, Call as RuntimeCall } from '@polkadot/types/interfaces';
import { SwarmError, toHex } from '@starling/protocol';
import * as v from 'valibot';
import type { Call, Included } from '../chain.ts';
import type { Signer } from '../identity/index.ts';
import { ChainRefusal, REFUSALS, type Refusal } from '../refusals.ts';
import { readEpoch } from './reads.ts';
import { type After, type Follower, Hash, Header, Hex, type Rpc, RpcError } from './rpc.ts';
import type { Runtime } from './runtime.ts';

/** Blocks a signed call is good for: what was not taken by then is void, and may be sent again. */
const MORTAL_BLOCKS = 64;
export const BLOCK_MS = 12_000;
/** By then it is void or in a block, and blocks become final in some ten seconds: who waits longer waits for a chain that stands still. */
const FINAL_MS = MORTAL_BLOCKS * BLOCK_MS;
const SR25519 = 1;
/** Longer texts are signed by their hash (Substrate, `SignedPayload`). */
const LONGEST_PAYLOAD = 256;
/** JSON-RPC: the pool found the call invalid. */
const INVALID_TRANSACTION = 1010;

const PALLET = 'subtensorModule';

/** The call in the runtime's own form. */
export function runtimeCall(runtime: Runtime, netuid: number, call: Call): RuntimeCall {
  const of = (name: string, args: Record<string, unknown>) => runtime.call(PALLET, name, args);
  switch (call.type) {
    case 'register':
      if (call.coldkey !== undefined)
        throw new SwarmError('BAD_MESSAGE', 'On subtensor a hotkey becomes the signer’s, and no other coldkey’s.');
      // Older runtimes take no limit: there the price may rise on the way.
      return call.limit !== null && runtime.hasCall(PALLET, 'registerLimit')
        ? of('registerLimit', { netuid, hotkey: call.hotkey, limitPrice: call.limit })
        : of('burnedRegister', { netuid, hotkey: call.hotkey });
    case 'addStake':
      return of('addStake', { hotkey: call.hotkey, netuid, amountStaked: call.amount });
    case 'removeStake':
      return of('removeStake', { hotkey: call.hotkey, netuid, amountUnstaked: call.amount });
    case 'transfer':
      return runtime.call('balances', 'transferKeepAlive', { dest: { Id: call.to }, value: call.amount });
    case 'setWeights':
      return of('setWeights', { netuid, dests: call.uids, weights: call.weights, versionKey: call.version });
    case 'commitWeights':
      return of('commitWeights', { netuid, commitHash: `0x${call.hash}` });
    case 'revealWeights':
      return of('revealWeights', { netuid, uids: call.uids, values: call.weights, salt: call.salt, versionKey: call.version });
  }
}

export interface Anchor {
  genesis: string;
  /** A recent block. */
  number: number;
  hash: string;
  nonce: number;
}

/** The signed extrinsic, in hex. */
export async function signCall(runtime: Runtime, call: RuntimeCall, anchor: Anchor, signer: Signer): Promise<string> {
  const { registry, version } = runtime;
  const era = registry.createType('ExtrinsicEra', { current: anchor.number, period: MORTAL_BLOCKS });
  const payload = registry.createType(
    'ExtrinsicPayload',
    {
      method: call.toHex(),
      era: era.toHex(),
      nonce: anchor.nonce,
      tip: 0,
      specVersion: version.specVersion,
      transactionVersion: version.transactionVersion,
      genesisHash: anchor.genesis,
      blockHash: anchor.hash,
      mode: 0,
      metadataHash: null,
    },
    { version: 4 },
  );
  const text = payload.toU8a({ method: true });
  const signature = await signer.sign(text.length > LONGEST_PAYLOAD ? blake2b(text, { dkLen: 32 }) : text);
  const extrinsic = registry.createType('Extrinsic', { method: call }, { version: 4 });
  extrinsic.addSignature(signer.address, `0x0${SR25519}${toHex(signature)}`, payload.toHex());
  return extrinsic.toHex();
}

const Block = v.object({ block: v.object({ header: Header, extrinsics: v.array(v.string()) }) });

/** Resolves when the call is in a final block and was carried out. */
export async function sendCall(rpc: Rpc, runtime: Runtime, netuid: number, extrinsic: string, after: After): Promise<Included> {
  const hash = await finalBlock(rpc, extrinsic, after);
  const { block } = await rpc.request('chain_getBlock', [hash], Block);
  const index = block.extrinsics.indexOf(extrinsic);
  if (index < 0) throw new SwarmError('CHAIN_UNREACHABLE', `The node says the call is in block ${hash}, which does not have it.`);
  const bytes = await rpc.request('state_getStorage', [runtime.key('system', 'events'), hash], v.nullable(Hex));
  const events = runtime.decode<Vec<EventRecord>>('system', 'events', bytes);
  const failed = events.find(
    ({ phase, event }) =>
      phase.isApplyExtrinsic && phase.asApplyExtrinsic.eq(index) && event.section === 'system' && event.method === 'ExtrinsicFailed',
  );
  if (failed) throw refusal(runtime.errorName(failed.event.data[0] as unknown as DispatchError), 'The chain carried out nothing');
  const { number } = block.header;
  return { block: number, epoch: await readEpoch(rpc, runtime, netuid, number, hash) };
}

/** A reason of ours if we know it, else the chain's word for it. */
function refusal(name: string, what: string): SwarmError {
  if (Object.hasOwn(REFUSALS, name)) return new ChainRefusal(name as Refusal, `${what}.`);
  return new SwarmError('CHAIN_REFUSED', `${what}: ${name}.`);
}

/** Substrate, `TransactionStatus`: a word, or an object whose only key is that word. */
const Status = v.union([v.string(), v.looseObject({ finalized: v.exactOptional(Hash) })]);
/** The node has let go of the call. */
const GONE = ['invalid', 'dropped', 'usurped', 'finalityTimeout'];

/**
 * Hash of the final block it got into. A reorganisation before that is nothing to worry about: it gets in again. Throws
 * `CHAIN_UNREACHABLE` when the node lets go of it, the line breaks, or none is final in `FINAL_MS`: whether it was carried out is
 * not known then.
 */
async function finalBlock(rpc: Rpc, extrinsic: string, after: After): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  promise.catch(() => {}); // it may fail before anybody waits for it
  const follower: Follower<v.InferOutput<typeof Status>> = {
    form: Status,
    message: (status) => {
      if (typeof status === 'object' && status.finalized) resolve(status.finalized);
      const kind = typeof status === 'string' ? status : Object.keys(status).join();
      if (GONE.includes(kind)) reject(new SwarmError('CHAIN_UNREACHABLE', `The node let go of the call (${kind}); it may be sent again.`));
    },
    lost: reject,
  };
  const end = await rpc
    .follow('author_submitAndWatchExtrinsic', [extrinsic], 'author_unwatchExtrinsic', follower)
    .catch((error: unknown) => {
      throw error instanceof RpcError && error.rpcCode === INVALID_TRANSACTION ? poolRefusal(error) : error;
    });
  const stopWaiting = after(FINAL_MS, () =>
    reject(new SwarmError('CHAIN_UNREACHABLE', `The call is in no final block after ${FINAL_MS / 60_000} minutes.`)),
  );
  try {
    return await promise;
  } finally {
    stopWaiting();
    end();
  }
}

/** What the pool says of a call it does not take (Substrate, `InvalidTransaction`). */
function poolRefusal(error: RpcError): SwarmError {
  if (/outdated/i.test(error.message)) return new ChainRefusal('Stale', 'The node did not take the call: its nonce was used.');
  if (/bad signature/i.test(error.message)) return new ChainRefusal('BadProof', 'The node did not take the call: it is not signed right.');
  if (/fees|payment/i.test(error.message)) return new ChainRefusal('NotEnoughBalanceToStake', 'The account cannot pay the fees.');
  return new SwarmError('CHAIN_REFUSED', `The node did not take the call: ${error.message}.`);
}
