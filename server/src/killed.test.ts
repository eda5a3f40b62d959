/** The server is killed outright in mid-step and started anew, with its log in either kind of store. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import type { MinerView, RunSnapshot, StepPoint } from '@starling/protocol';
import { findPostgres, temporaryRun } from '@starling/store/testing';
import { expect, test } from 'vitest';
import { type ServerProcess, startServerProcess } from './process.ts';

const postgres = await findPostgres((why) => console.warn(why));

async function survives(store: string[]): Promise<void> {
  const data = await mkdtemp(join(tmpdir(), 'starling-killed-'));
  const options = ['--data', data, '--stages', '1', '--sequences', '1', '--microbatches', '6', '--checkpoint-every', '1000', ...store];
  let server: ServerProcess = await startServerProcess(['--port', '0', ...options]);
  const ask = async <T>(path: string) => (await fetch(`${server.url}${path}`)).json() as Promise<T>;
  const run = () => ask<RunSnapshot>('/v1/run');
  const points = () => ask<StepPoint[]>('/v1/run/points');
  const reach = (step: number) => expect.poll(async () => (await run()).step, { timeout: 60_000 }).toBeGreaterThanOrEqual(step);
  const miner = startNodeMiner({ url: server.url, name: 'n', backend: 'wasm' });
  try {
    await reach(2);
    const known = await points();
    const [{ id, microbatches }] = (await run()).stages[0]!.miners as [MinerView];
    await server.kill();
    server = await startServerProcess(['--port', `${server.port}`, ...options]);
    const { step, counters } = await run();
    expect(step).toBeGreaterThanOrEqual(2);
    // No step was checkpointed: all of it comes from the log and the gradients merged.
    expect((await points()).slice(0, known.length)).toEqual(known);
    expect((await ask<MinerView>(`/v1/miners/${id}`)).microbatches).toBeGreaterThanOrEqual(microbatches);
    await reach(step + 2);
    expect(
      (await run()).stages[0]!.miners.map((view) => view.id),
      'the same miner, and no other',
    ).toEqual([id]);
    expect(counters.resynchronised).toBe(0);
  } finally {
    await miner.stop();
    await server.kill();
    await rm(data, { recursive: true, force: true });
  }
}

test('SQLite', () => survives([]));

test('with merges beside the next step', () => survives(['--overlap']));

test('with inner steps', () => survives(['--inner-steps', '2', '--outer', 'diloco']));

test.skipIf(!postgres)('PostgreSQL', async () => {
  const place = temporaryRun(postgres!);
  try {
    await survives(['--store', place.address]);
  } finally {
    await place.remove();
  }
});
