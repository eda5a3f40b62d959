/** The server's own chain over HTTP, for validators and wallets that run elsewhere: reads, and calls that were signed there. */
import { ChainRefusal, DevChain, decodeAddress, toPlain } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import type { FastifyInstance } from 'fastify';
import type { Addresses } from '../addresses.ts';
import { Allowance } from '../allowance.ts';
import type { ChainLine } from './line.ts';
import { jsonOf } from './routes.ts';

/** Weights for every uid fit. */
const BODY_LIMIT = 262_144;
const MOST_EPOCHS = 1_000;

/** Of one address, forged calls and what is no call that are looked at, at once, and then one more each so many ms: both cost milliseconds, and their sender nothing. */
const BAD_BURST = 20;
const BAD_EVERY_MS = 1_000;

export interface NodeParts {
  line: ChainLine;
  blockMs: number;
  addresses: Addresses;
  /** Ms. */
  now?(): number;
}

export function addNodeRoutes(http: FastifyInstance, { line, blockMs, addresses, now = () => performance.now() }: NodeParts): void {
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
  const bad = new Allowance(BAD_BURST, BAD_EVERY_MS);
  http.post('/v1/chain/node/calls', { bodyLimit: BODY_LIMIT }, async ({ body, ip, headers }) => {
    const address = addresses.addressOf({ address: ip, headers });
    if (address !== null && !bad.has(address, now()))
      throw new SwarmError('BUSY', `From ${address} came too many calls with forged signatures, or that were none.`);
    try {
      return await chain().submitSigned(jsonOf(body));
    } catch (error) {
      if (address !== null && isBad(error)) bad.use(address, now());
      throw error;
    }
  });
}

const isBad = (error: unknown) =>
  error instanceof ChainRefusal ? error.reason === 'BadProof' : error instanceof SwarmError && error.code === 'BAD_MESSAGE';
