/** Calls in the runtime's own form. */
import type { ApiPromise } from '@polkadot/api';
import type { SubmittableExtrinsic } from '@polkadot/api/types';
import { SwarmError } from '@starling/protocol';
import type { Call } from '../chain.ts';
import { lacks, PALLET } from './reads.ts';

/** That a signed call is good for: what was not taken by then is void, and may be sent again. */
export const MORTAL_BLOCKS = 64;

type Extrinsic = SubmittableExtrinsic<'promise'>;

/** Not signed yet. Throws `CHAIN_INCOMPATIBLE` where the runtime has no such call. */
export function extrinsicOf(api: Pick<ApiPromise, 'tx' | 'runtimeVersion'>, netuid: number, call: Call): Extrinsic {
  const of = (name: string, args: Record<string, unknown>, pallet = PALLET): Extrinsic => {
    const make = api.tx[pallet]?.[name];
    if (!make) throw lacks(api, `the call ${pallet}.${name}`);
    // The library names fields as the runtime does.
    const wanted = make.meta.args.map((arg) => arg.name.toString()).join(', ');
    const given = Object.keys(args).join(', ');
    if (wanted !== given) throw lacks(api, `${pallet}.${name} (${given})`);
    return make(...Object.values(args));
  };
  switch (call.type) {
    case 'register':
      if (call.coldkey !== undefined)
        throw new SwarmError('BAD_MESSAGE', 'On subtensor a hotkey becomes the signer’s, and no other coldkey’s.');
      // Older runtimes take no limit: there the price may rise on the way.
      return call.limit !== null && api.tx[PALLET]?.registerLimit
        ? of('registerLimit', { netuid, hotkey: call.hotkey, limitPrice: call.limit })
        : of('burnedRegister', { netuid, hotkey: call.hotkey });
    case 'addStake':
      return of('addStake', { hotkey: call.hotkey, netuid, amountStaked: call.amount });
    case 'removeStake':
      return of('removeStake', { hotkey: call.hotkey, netuid, amountUnstaked: call.amount });
    case 'transfer':
      return of('transferKeepAlive', { dest: { Id: call.to }, value: call.amount }, 'balances');
    case 'setWeights':
      return of('setWeights', { netuid, dests: call.uids, weights: call.weights, versionKey: call.version });
    case 'commitWeights':
      return of('commitWeights', { netuid, commitHash: `0x${call.hash}` });
    case 'revealWeights':
      return of('revealWeights', { netuid, uids: call.uids, values: call.weights, salt: call.salt, versionKey: call.version });
  }
}
