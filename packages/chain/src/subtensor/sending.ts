/** A call on its way into a block of subtensor: signed, sent, and followed until it is final. */
import type { ApiPromise } from '@polkadot/api';
import type { u64 } from '@polkadot/types';
import type { DispatchError } from '@polkadot/types/interfaces';
import type { ISubmittableResult } from '@polkadot/types/types';
import { SwarmError, toHex } from '@starling/protocol';
import type { Call } from '../chain.ts';
import { fromHex } from '../identity/index.ts';
import type { Refusal } from '../refusals.ts';
import type { Sent, Sign } from './api-thread.ts';
import { extrinsicOf, MORTAL_BLOCKS } from './calls.ts';
import { type Link, refusalCode } from './link.ts';
import { read, readEpoch } from './reads.ts';

/** As the first byte of a signature. */
const SR25519 = '01';
/** Longer texts are signed by their hash (Substrate, `SignedPayload`). */
const LONGEST_PAYLOAD = 256;
/** JSON-RPC: the pool found the call invalid. */
const INVALID_TRANSACTION = 1010;
/** The node has let go of the call. */
const GONE = ['Invalid', 'Dropped', 'Usurped', 'FinalityTimeout'];

/** Resolves when the call is in a final block, or was refused. Throws what `Link.use` throws. */
export async function send(link: Link, api: ApiPromise, netuid: number, call: Call, signer: string, sign: Sign): Promise<Sent> {
  const tx = extrinsicOf(api, netuid, call);
  const dear = call.type === 'register' && call.limit !== null ? await dearerThan(call.limit, link, api, netuid) : null;
  if (dear) return dear;
  const signRaw = async ({ data }: { data: string }) => {
    const text = fromHex(data)!;
    const signature = await sign(text.length > LONGEST_PAYLOAD ? api.registry.hash(text).toU8a() : text);
    return { id: 0, signature: `0x${SR25519}${toHex(signature)}` as const };
  };
  const options = { nonce: await link.nextNonce(signer), era: MORTAL_BLOCKS, signer: { signRaw } };
  const { promise: ended, resolve, reject } = Promise.withResolvers<ISubmittableResult>();
  ended.catch(() => {}); // it may fail before anybody waits for it
  // A reorganisation before it is final is nothing to worry about: it gets in again.
  const follow = (result: ISubmittableResult) => {
    const { isFinalized, type } = result.status;
    if (isFinalized) resolve(result);
    else if (GONE.includes(type)) reject(unknown(`The node let go of the call (${type.toLowerCase()}); it may be sent again.`));
  };
  try {
    const stop = await tx.signAndSend(signer, options, follow);
    return await outcome(link, api, netuid, await ended.finally(stop));
  } catch (error) {
    if (refusalCode(error) === INVALID_TRANSACTION) return poolRefusal((error as Error).message);
    throw error;
  }
}

/** So that no call is made in vain; the price may still move until it is in a block. */
async function dearerThan(limit: bigint, link: Link, api: ApiPromise, netuid: number): Promise<Sent | null> {
  const [burn] = await read(await api.at(await link.bestHash()), [['burn', netuid]]);
  const price = (burn as u64).toBigInt();
  return price > limit ? refused('RegistrationPriceLimitExceeded', `A registration costs ${price} rao, more than ${limit}`) : null;
}

/** What became of it in the final block. */
async function outcome(link: Link, api: ApiPromise, netuid: number, result: ISubmittableResult): Promise<Sent> {
  const { status, internalError, dispatchError, txIndex } = result;
  if (internalError) throw unknown(`What became of the call cannot be read: ${internalError.message}`);
  const hash = status.asFinalized;
  if (txIndex === undefined) throw unknown(`The node says the call is in block ${hash}, which does not have it.`);
  if (dispatchError) return { refused: nameOf(dispatchError), what: 'The chain carried out nothing' };
  const block = await link.numberOf(hash.toHex());
  return { block, epoch: await readEpoch(await api.at(hash), netuid, block) };
}

/** Whether the call was carried out, or will be, is not known. */
const unknown = (what: string) => new SwarmError('CHAIN_UNREACHABLE', what);

/** The runtime's name of an error, `SettingWeightsTooFast` say. */
const nameOf = (error: DispatchError) => (error.isModule ? error.registry.findMetaError(error.asModule).name : error.type);

const refused = (reason: Refusal, what: string): Sent => ({ refused: reason, what });

/** What the pool says of a call it does not take (Substrate, `InvalidTransaction`). */
function poolRefusal(message: string): Sent {
  if (/outdated/i.test(message)) return refused('Stale', 'The node did not take the call: its nonce was used');
  if (/bad signature/i.test(message)) return refused('BadProof', 'The node did not take the call: it is not signed right');
  if (/fees|payment/i.test(message)) return refused('NotEnoughBalanceToStake', 'The account cannot pay the fees');
  return { refused: message, what: 'The node did not take the call' };
}
