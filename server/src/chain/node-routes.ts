/** The server's own chain over HTTP, for validators and wallets that run elsewhere: reads, and calls that were signed there. */
import { DevChain, decodeAddress, toPlain } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import type { FastifyInstance } from 'fastify';
import type { ChainLine } from './line.ts';
import { jsonOf } from './routes.ts';

/** Weights for every uid fit. */
const BODY_LIMIT = 262_144;
const MOST_EPOCHS = 1_000;

export function addNodeRoutes(http: FastifyInstance, line: ChainLine, blockMs: number): void {
  const chain = () => {
    const { opened } = line;
    if (opened instanceof DevChain) return opened;
    throw new SwarmError('NOT_FOUND', 'This server has no chain of its own: ask a node of the chain it names at /v1/chain.');
  };
  http.get('/v1/chain/node', async () => {
    const { network, netuid } = chain();
    return { network, netuid, blockMs, head: await chain().head() };
  });
  http.get('/v1/chain/node/metagraph', async () => toPlain(await chain().metagraph()));
  http.get<{ Params: { address: string } }>('/v1/chain/node/accounts/:address', async ({ params: { address } }) => {
    decodeAddress(address);
    return toPlain({ nonce: chain().nextNonce(address), balance: await chain().balance(address) });
  });
  http.get<{ Querystring: { limit?: string } }>('/v1/chain/node/epochs', async ({ query: { limit = '1' } }) => {
    if (!/^[1-9]\d{0,5}$/.test(limit)) throw new SwarmError('BAD_REQUEST', 'limit must be a whole number above zero.');
    return toPlain(await chain().epochs(Math.min(MOST_EPOCHS, Number(limit))));
  });
  http.post('/v1/chain/node/calls', { bodyLimit: BODY_LIMIT }, ({ body }) => chain().submitSigned(jsonOf(body)));
}
