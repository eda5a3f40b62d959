/** `/v1/models`: the model to try, compare and download. */
import { type ModelVersion, SwarmError } from '@starling/protocol';
import type { FastifyInstance } from 'fastify';
import type { Models } from './models.ts';
import type { Run } from './run.ts';

export function modelRoutes(http: FastifyInstance, run: Run, models: Models): void {
  http.get('/v1/models', async (): Promise<ModelVersion[]> => {
    const points = new Map(run.view.points.map((point) => [point.step, point]));
    return models.offer(run.closedStep, Date.now()).map((version) => {
      const { loss = null, tokens = null, time = null } = points.get(version) ?? {};
      return { version, loss, tokens, time };
    });
  });
  http.get<{ Params: { version: string; stage: string } }>('/v1/models/:version/:stage', async ({ params }, reply) => {
    const { version, stage } = params;
    if (!/^\d{1,12}$/.test(version) || !/^\d{1,4}$/.test(stage))
      throw new SwarmError('BAD_REQUEST', 'A version and a stage are whole numbers.');
    const frame = await models.read(Number(version), Number(stage));
    // Another run on the same address has other parameters under the same name.
    return reply.type('application/octet-stream').header('cache-control', 'no-store').send(frame);
  });
}
