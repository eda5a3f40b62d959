/** A call on its way into a block of subtensor: built, signed, sent, and followed until it is final. */
import { blake2b } from '@noble/hashes/blake2.js';
import type { Vec } from '@polkadot/types';
import type { DispatchError, EventRecord, Call as RuntimeCall } from '@polkadot/types/interfaces';
import { SwarmError, toHex } from '@starling/protocol';
import type { Call, Included } from '../chain.ts';
import type { Signer } from '../identity/index.ts';
import { ChainRefusal, REFUSALS, type Refusal } from '../refusals.ts';
import { readEpoch } from './reads.ts';
import { type Rpc, RpcError } from './rpc.ts';
import type { Runtime } from './runtime.ts';

/** Blocks a signed call is good for: what was not taken by then is void, and may be sent again. */
const MORTAL_BLOCKS = 64;
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
      return of('burnedRegister', { netuid, hotkey: call.hotkey });
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

/** Resolves when the call is in a final block and was carried out. */
export async function sendCall(rpc: Rpc, runtime: Runtime, netuid: number, extrinsic: string): Promise<Included> {
  const hash = await finalBlock(rpc, extrinsic);
  const { block } = await rpc.request<{ block: { header: { number: string }; extrinsics: string[] } }>('chain_getBlock', [hash]);
  const index = block.extrinsics.indexOf(extrinsic);
  const bytes = await rpc.request<string | null>('state_getStorage', [runtime.key('system', 'events'), hash]);
  const events = runtime.decode<Vec<EventRecord>>('system', 'events', bytes);
  const failed = events.find(
    ({ phase, event }) =>
      phase.isApplyExtrinsic && phase.asApplyExtrinsic.eq(index) && event.section === 'system' && event.method === 'ExtrinsicFailed',
  );
  if (failed) throw refusal(runtime.errorName(failed.event.data[0] as unknown as DispatchError), 'The chain carried out nothing');
  const number = Number(block.header.number);
  return { block: number, epoch: await readEpoch(rpc, runtime, netuid, number, hash) };
}

/** A reason of ours if we know it, else the chain's word for it. */
function refusal(name: string, what: string): SwarmError {
  if (Object.hasOwn(REFUSALS, name)) return new ChainRefusal(name as Refusal, `${what}.`);
  return new SwarmError('CHAIN_REFUSED', `${what}: ${name}.`);
}

type Status =
  | string
  | { inBlock: string }
  | { finalized: string }
  | { retracted: string }
  | { usurped: string }
  | { finalityTimeout: string };

/** Hash of the final block it got into. A reorganisation before that is nothing to worry about: it gets in again. */
async function finalBlock(rpc: Rpc, extrinsic: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  promise.catch(() => {}); // it may fail before anybody waits for it
  const message = (value: unknown) => {
    const status = value as Status;
    const kind = typeof status === 'string' ? status : Object.keys(status)[0]!;
    if (typeof status === 'object' && 'finalized' in status) resolve(status.finalized);
    if (['invalid', 'dropped', 'usurped', 'finalityTimeout'].includes(kind))
      reject(new SwarmError('CHAIN_UNREACHABLE', `The node let go of the call (${kind}); it may be sent again.`));
  };
  const end = await rpc
    .follow('author_submitAndWatchExtrinsic', [extrinsic], 'author_unwatchExtrinsic', { message, lost: reject })
    .catch((error: unknown) => {
      throw error instanceof RpcError && error.rpcCode === INVALID_TRANSACTION ? poolRefusal(error) : error;
    });
  try {
    return await promise;
  } finally {
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
