/** What a person may do with a miner: pause it, slow it down, let it finish. Nothing of it costs the swarm work. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type NodeMiner, startNodeMiner } from '@starling/miner/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningServer, startServer } from './index.ts';

const TIMEOUT = 60_000;

describe('a miner under its owner’s hand', () => {
  let folder: string;
  let server: RunningServer;
  let other: NodeMiner;
  const start = (name: string) => startNodeMiner({ url: server.url, name, backend: 'wasm' });
  const viewOf = (name: string) =>
    server
      .snapshot()
      .stages.flatMap(({ miners }) => miners)
      .find((miner) => miner.name === name);
  const working = (miner: NodeMiner, more: number) => {
    const before = miner.state?.microbatches ?? 0;
    return expect.poll(() => miner.state?.microbatches ?? 0, { timeout: TIMEOUT }).toBeGreaterThanOrEqual(before + more);
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'control-'));
    server = await startServer({
      ...{ port: 0, dataDir: folder, stages: 1, sequences: 1, microbatchesPerStep: 6, audits: false, log: () => {} },
    });
    other = start('other');
  });
  afterAll(async () => {
    await other.stop();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('pauses, says so, and goes on', async () => {
    const miner = start('pausing');
    await working(miner, 2);
    miner.order({ type: 'pause' });
    await expect.poll(() => miner.state?.waiting?.code, { timeout: TIMEOUT }).toBe('PAUSED');
    await expect.poll(() => viewOf('pausing')?.leases, { timeout: TIMEOUT }).toBe(0);
    const steps = (more: number) => {
      const { step } = server.snapshot();
      return expect.poll(() => server.snapshot().step, { timeout: TIMEOUT }).toBeGreaterThanOrEqual(step + more);
    };
    await steps(1); // what was on its way is there
    const { microbatches } = miner.state!;
    // The others go on: steps close without it.
    await steps(2);
    expect(miner.state!.microbatches).toBe(microbatches);
    await expect.poll(() => miner.state?.waiting?.code, { timeout: TIMEOUT, message: 'a merge is applied all the same' }).toBe('PAUSED');
    miner.order({ type: 'resume' });
    await working(miner, 2);
    await miner.stop();
  });

  it('finishes: all it was given counts, and nobody computes anything again', async () => {
    const miner = start('finishing');
    await working(miner, 3);
    const before = server.snapshot().counters;
    const saw: (string | undefined)[] = [];
    miner.onState((state) => saw.push(state.waiting?.code));
    await miner.finish();
    expect(saw).toContain('FINISHING');
    expect(miner.state).toMatchObject({ activity: 'stopped', error: null });
    await expect.poll(() => viewOf('finishing'), { timeout: TIMEOUT, message: 'its last word may still be on its way' }).toBeUndefined();
    const { step } = server.snapshot();
    await expect.poll(() => server.snapshot().step, { timeout: TIMEOUT }).toBeGreaterThan(step + 1);
    const after = server.snapshot().counters;
    expect([after.handedOver, after.leftOut]).toEqual([before.handedOver, before.leftOut]);
  });

  it('refuses a stage that needs more memory than it may have, with the numbers', async () => {
    const miner = startNodeMiner({ url: server.url, name: 'small', backend: 'wasm', memoryCap: 1_000_000 });
    await expect.poll(() => miner.state?.error?.code, { timeout: TIMEOUT }).toBe('MEMORY_SHORT');
    expect(miner.state!.error!.message).toMatch(
      /^Stage 0 needs about \d+\.\d MB on the device \(parameters 1\.2 MB, .*\); 1\.0 MB are allowed\.$/,
    );
    await expect.poll(() => viewOf('small'), { timeout: TIMEOUT, message: 'the server hears of it, too' }).toBeUndefined();
    await miner.kill();
  });

  it('computes a share of the time', async () => {
    const miner = start('gentle');
    await working(miner, 1);
    miner.order({ type: 'intensity', share: 0.25 });
    await working(miner, 2); // leases of before are through
    const before = miner.state!.spent;
    await working(miner, 6);
    const spent = miner.state!.spent;
    const busy = spent.compute - before.compute;
    expect(busy / (busy + spent.wait - before.wait)).toBeLessThan(0.4);
    await miner.stop();
  });
});
