/** HTTP: blobs, run state, health, and the built web app. */
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { sep } from 'node:path';
import fastifyStatic from '@fastify/static';
import { ERROR_HINTS, type ErrorCode, MINERS_AT_ONCE, SwarmError } from '@starling/protocol';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import * as v from 'valibot';
import type { Addresses } from './addresses.ts';
import type { Panel } from './audits/panel.ts';
import { addAuditRoutes } from './audits/routes.ts';
import { mergingStage } from './blob-owners.ts';
import type { Blobs } from './blobs.ts';
import { addNodeRoutes } from './chain/node-routes.ts';
import type { Paymaster } from './chain/paymaster.ts';
import { addChainRoutes } from './chain/routes.ts';
import type { Identity } from './identity.ts';
import { LONGEST_PAGE, wholeNumber } from './queries.ts';
import type { Refusals } from './refusals.ts';
import type { Run } from './run.ts';

const STATUS: Partial<Record<ErrorCode, number>> = {
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  BLOB_NOT_FOUND: 404,
  BLOB_TOO_LARGE: 413,
  INTERNAL: 500,
  // Tried again by whoever asked: nothing is wrong with the request.
  STORE_FAILED: 503,
  BUSY: 503,
  CHAIN_UNREACHABLE: 503,
};

const IMMUTABLE = 'public, max-age=31536000, immutable';

/**
 * A page of which no other origin is a part may share memory between threads. Workers must say the same as their page, so all files do.
 */
const ISOLATED = {
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-resource-policy': 'same-origin',
};

/**
 * The part that only pages need, and that a browser calls an error where they are not secure. Browsers fetch with `sec-fetch-mode` from
 * secure addresses alone: behind any proxy that tells better than scheme and host what theirs is.
 */
const openerPolicy = ({ headers }: FastifyRequest) => ({
  vary: 'sec-fetch-mode',
  ...(headers['sec-fetch-mode'] !== undefined && { 'cross-origin-opener-policy': 'same-origin' }),
});

/** Fastify's own refusals, as ours. */
function asSwarmError(error: unknown): SwarmError {
  if (error instanceof SwarmError) return error;
  const { statusCode, message } = error as { statusCode?: number; message: string };
  if (statusCode === 413) return new SwarmError('BLOB_TOO_LARGE', 'The body is larger than anything this run needs.');
  if (statusCode === 404) return new SwarmError('NOT_FOUND', message);
  return SwarmError.from(error, statusCode && statusCode < 500 ? 'BAD_REQUEST' : 'INTERNAL');
}

export interface HttpParts {
  run: Run;
  blobs: Blobs;
  identity: Identity;
  refusals: Refusals;
  paymaster: Paymaster;
  panel: Panel;
  addresses: Addresses;
  /** Between blocks of the server's own chain. */
  blockMs: number;
  /** Folder of the built web app. */
  webRoot: string;
  maxBlobBytes: number;
  /** A page says that it is being closed. */
  leave(minerId: string, socketId: string): Promise<void>;
}

/** What `sendBeacon` posts when a page goes: who, and on which socket it was. */
const LastWord = v.object({ minerId: v.string(), token: v.string(), socketId: v.string() });

export async function createHttp(parts: HttpParts): Promise<FastifyInstance> {
  const { run, blobs, identity, refusals, paymaster, panel, addresses, blockMs, webRoot, maxBlobBytes, leave } = parts;
  const refuse = (error: unknown, _request: FastifyRequest, reply: FastifyReply) => {
    const fault = asSwarmError(error);
    if (fault.code === 'INTERNAL') run.report('error', 'INTERNAL', fault.message);
    return reply.code(STATUS[fault.code] ?? 400).send({ error: fault.toWire() });
  };
  // `frameworkErrors` is for addresses that cannot be read, which no route and no handler ever sees.
  const http = Fastify({
    bodyLimit: maxBlobBytes,
    forceCloseConnections: true,
    frameworkErrors: refuse,
    clientErrorHandler: (error, socket) => refuseSocket(error, socket),
  });
  http.setErrorHandler(refuse);
  http.removeAllContentTypeParsers();
  http.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

  http.get('/healthz', async () => {
    const { phase, reason, step } = run.view.snapshot(Date.now());
    return { ok: run.view.trouble === null, phase, reason, step, checkpoint: run.checkpointed };
  });
  http.get('/v1/run', async () => run.view.snapshot(Date.now()));
  http.get('/v1/run/points', async () => run.view.points);
  http.get('/v1/run/events', async () => run.view.events);
  const assertRun = ({ id }: { id: string }) => {
    if (id !== run.view.config.runId) throw new SwarmError('NOT_FOUND', `This server's run is ${run.view.config.runId}.`);
  };
  http.get<{ Params: { id: string }; Querystring: { after?: string } }>('/v1/runs/:id/ledger', async ({ params, query }) => {
    assertRun(params);
    const after = query.after === undefined || query.after === '0' ? 0 : wholeNumber('after', query.after);
    return { rounds: await run.ledger(after, LONGEST_PAGE) };
  });
  http.get<{ Params: { id: string } }>('/v1/runs/:id/agreement', async ({ params }) => {
    assertRun(params);
    return { stages: run.agreement() };
  });
  http.get<{ Querystring: { ids?: string } }>('/v1/miners', async ({ query }) => {
    const now = Date.now();
    if (query.ids === undefined) return { miners: run.view.gone(now, LONGEST_PAGE) };
    const ids = query.ids.split(',');
    if (ids.length > MINERS_AT_ONCE)
      throw new SwarmError('BAD_REQUEST', `ids may name ${MINERS_AT_ONCE} miners at once, not ${ids.length}.`);
    return { miners: ids.map((id) => run.view.miner(id, now)).filter((miner) => miner !== null) };
  });
  http.get<{ Params: { id: string } }>('/v1/miners/:id', async ({ params }) => {
    const miner = run.view.miner(params.id, Date.now());
    if (!miner) throw new SwarmError('NOT_FOUND', `No miner ${params.id} is here, and none that was has left a trace.`);
    return miner;
  });
  http.get<{ Params: { id: string }; Querystring: { limit?: string; before?: string } }>(
    '/v1/miners/:id/receipts',
    async ({ params, query }) => {
      const limit = Math.min(LONGEST_PAGE, wholeNumber('limit', query.limit ?? '100'));
      const before = query.before === undefined ? undefined : wholeNumber('before', query.before);
      const receipts = await run.receiptsOf(params.id, limit, before);
      // Where the next page begins; null on the last one.
      return { receipts, before: receipts.length < limit ? null : (receipts.at(-1)?.id ?? null) };
    },
  );
  // For a page that wants to know how fast its line is: the bytes are taken and forgotten.
  http.post('/v1/probe', { bodyLimit: 2 ** 20 }, async ({ body }) => ({ bytes: Buffer.isBuffer(body) ? body.byteLength : 0 }));
  http.post('/v1/leave', { bodyLimit: 4096 }, async ({ body }, reply) => {
    const word = v.safeParse(LastWord, parseJson(body));
    if (!word.success) throw new SwarmError('BAD_REQUEST', 'The body must be JSON with `minerId`, `token` and `socketId`.');
    const { minerId, token, socketId } = word.output;
    if (!identity.knows(minerId, token)) throw new SwarmError('UNAUTHORIZED', `This is not miner ${minerId}'s token.`);
    await leave(minerId, socketId);
    return reply.code(202).send({ ok: true });
  });

  addAuditRoutes(http, run, panel);
  addChainRoutes(http, paymaster);
  addNodeRoutes(http, { line: paymaster.line, blockMs, addresses });

  const hashOf = (params: { hash: string }) => {
    if (!/^[0-9a-f]{64}$/.test(params.hash)) throw new SwarmError('BAD_REQUEST', 'A blob’s name is 64 hex digits.');
    return params.hash;
  };
  http.get<{ Params: { hash: string } }>('/v1/blobs/:hash', async ({ params }, reply) => {
    const bytes = blobs.get(hashOf(params));
    run.view.carried(bytes.byteLength);
    const stage = blobs
      .ownersOf(params.hash)
      .map(mergingStage)
      .find((one) => one !== null);
    if (stage !== undefined) run.view.merging(stage, 'sent', bytes.byteLength);
    return reply
      .type('application/octet-stream')
      .header('cache-control', IMMUTABLE)
      .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  });
  http.put<{ Params: { hash: string } }>(
    '/v1/blobs/:hash',
    // Before the body is read, so that nobody without a token makes the server take bytes.
    {
      onRequest: async ({ headers }) => {
        const minerId = identity.fromHeader(headers.authorization);
        if (!run.coordinator.miner(minerId)) throw new SwarmError('UNAUTHORIZED', `Miner ${minerId} is not part of the run (any more).`);
      },
      errorHandler: async (error, request, reply) => {
        const fault = asSwarmError(error);
        if (fault.code !== 'UNAUTHORIZED') await refusals.record(identity.fromHeader(request.headers.authorization), fault, null);
        return refuse(error, request, reply);
      },
    },
    async ({ params, headers, body }, reply) => {
      if (!Buffer.isBuffer(body)) throw new SwarmError('BAD_REQUEST', 'The body must be the blob’s bytes.');
      await blobs.upload(identity.fromHeader(headers.authorization), hashOf(params), body);
      run.view.carried(body.byteLength);
      return reply.code(201).send({ ok: true });
    },
  );

  const hasApp = existsSync(webRoot);
  if (hasApp)
    await http.register(fastifyStatic, {
      root: webRoot,
      cacheControl: false,
      preCompressed: true,
      setHeaders: (response, path) => {
        // Built files carry a hash of themselves in their name; pages do not.
        response.header('cache-control', path.includes(`${sep}assets${sep}`) ? IMMUTABLE : 'public, max-age=0');
        // Nobody makes strangers mine, or sign, behind a page of his own.
        response.header('content-security-policy', "frame-ancestors 'none'");
        response.headers({ ...ISOLATED, ...openerPolicy(response.request) });
      },
    });
  http.setNotFoundHandler((request, reply) => {
    // Pages are routes of the app; everything else that is not there is an error with a code.
    const isPage = request.method === 'GET' && !request.url.startsWith('/v1/') && request.headers.accept?.includes('text/html');
    if (isPage && hasApp) return reply.sendFile('index.html');
    const what = isPage ? 'The web app is not built; run `npm run build`.' : `${request.method} ${request.url.split('?')[0]} is not here.`;
    return reply.code(404).send({ error: { code: 'NOT_FOUND', message: what, hint: ERROR_HINTS.NOT_FOUND } });
  });
  return http;
}

function parseJson(body: unknown): unknown {
  try {
    return JSON.parse(String(body));
  } catch {
    return null;
  }
}

/** What is no HTTP at all, or has too long a head: no route ever sees it. */
function refuseSocket(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const large = error.code === 'HPE_HEADER_OVERFLOW';
  const fault = new SwarmError('BAD_REQUEST', large ? 'The request has too long a head.' : 'This is not a request that HTTP allows.');
  const body = JSON.stringify({ error: fault.toWire() });
  const status = large ? '431 Request Header Fields Too Large' : '400 Bad Request';
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
