/** HTTP of audits: the public feed, who validates, and the evidence that validators elsewhere were asked to look at. */
import { type Evidence, encodeEvidence } from '@starling/audit';
import { bytesOf } from '@starling/protocol';
import type { FastifyInstance } from 'fastify';
import { LONGEST_PAGE, wholeNumber } from '../queries.ts';
import type { Run } from '../run.ts';
import type { Panel } from './panel.ts';

export function addAuditRoutes(http: FastifyInstance, run: Run, panel: Panel): void {
  http.get<{ Querystring: { limit?: string; before?: string; miner?: string } }>('/v1/audits', async ({ query }) => {
    const limit = Math.min(LONGEST_PAGE, wholeNumber('limit', query.limit ?? '100'));
    const before = query.before === undefined ? undefined : wholeNumber('before', query.before);
    const audits = await run.auditsOf(limit, before, query.miner);
    const validators = (await run.auditor?.validators()) ?? [];
    return { audits, before: audits.length < limit ? null : (audits.at(-1)?.id ?? null), validators };
  });
  http.get('/v1/attribution', async () => ({ attribution: run.auditor?.attributions ?? [] }));
  // Whoever knows the name was asked to look at it; nothing in it is secret.
  const serve = (path: string, of: (evidence: Evidence) => Uint8Array | Promise<Uint8Array>) =>
    http.get<{ Params: { id: string } }>(`/v1/validators/${path}/:id`, async ({ params }, reply) => {
      const bytes = await of(panel.evidence(params.id));
      return reply.type('application/octet-stream').send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    });
  serve('evidence', encodeEvidence);
  serve('parameters', ({ parameters }) => bytesOf(parameters));
}
