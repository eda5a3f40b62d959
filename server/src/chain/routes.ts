/** HTTP of the chain and of identities. */
import { SwarmError } from '@starling/protocol';
import type { FastifyInstance } from 'fastify';
import * as v from 'valibot';
import type { Paymaster } from './paymaster.ts';

/** A signed delegation is a kilobyte. */
const BODY_LIMIT = 8_192;

const Unlink = v.object({ signature: v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/, 'not 64 bytes in hex')) });

export function addChainRoutes(http: FastifyInstance, paymaster: Paymaster): void {
  http.get('/v1/chain', () => paymaster.view());
  http.post('/v1/identity/challenge', { bodyLimit: BODY_LIMIT }, async () => paymaster.challenge());
  http.post('/v1/identity/delegations', { bodyLimit: BODY_LIMIT }, ({ body }) => paymaster.link(jsonOf(body)));
  http.get<{ Params: { device: string } }>('/v1/identity/:device', ({ params }) => paymaster.account(deviceOf(params.device)));
  // As it was signed: whoever pays by it checks it for himself.
  http.get<{ Params: { device: string } }>('/v1/identity/:device/delegation', async ({ params }) => ({
    signed: paymaster.signedDelegation(deviceOf(params.device)),
  }));
  http.post<{ Params: { device: string } }>('/v1/identity/:device/unlink', { bodyLimit: BODY_LIMIT }, ({ params, body }) => {
    const parsed = v.safeParse(Unlink, jsonOf(body));
    if (!parsed.success) throw new SwarmError('BAD_REQUEST', 'The body must be JSON with `signature`, the device’s.');
    return paymaster.unlink(deviceOf(params.device), parsed.output.signature);
  });
}

function deviceOf(text: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new SwarmError('BAD_REQUEST', 'A device is 64 hex digits: its ed25519 public key.');
  return text;
}

/** Throws `BAD_REQUEST`. */
export function jsonOf(body: unknown): unknown {
  try {
    return JSON.parse(String(body));
  } catch {
    throw new SwarmError('BAD_REQUEST', 'The body must be JSON.');
  }
}
