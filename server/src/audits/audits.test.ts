/** Audits in a running server: honest miners pass, one that cheats is found, banned, and its pay is lost. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNodeMiner } from '@starling/miner/node';
import type { AuditEntry, RoundWork, RunEvent, ValidatorView } from '@starling/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startServer } from '../index.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'audits-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('finds a miner that cheats, and nobody else', async () => {
  const server = await startServer({
    ...{ port: 0, dataDir: join(folder, 'run'), stages: 2, sequences: 1, microbatchesPerStep: 6, steps: 0, roundSteps: 1, log: () => {} },
    validateEvery: 1_000,
  });
  const json = async <T>(path: string) => (await (await fetch(`${server.url}${path}`)).json()) as T;
  const honest = ['a', 'b', 'c'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
  // In all that it says but a loss: in no step is there nothing to find.
  const cheat = startNodeMiner({ url: server.url, name: 'cheat', backend: 'wasm', tampering: 'scaled' });
  const events = () => json<RunEvent[]>('/v1/run/events');
  // A newcomer is audited at once, and after that in a fifth of its steps.
  await expect.poll(async () => (await events()).some(({ code }) => code === 'AUDIT_FAILED'), { timeout: 50_000 }).toBe(true);
  const { minerId } = cheat.state!;
  const found = (await events()).filter(({ code }) => code === 'AUDIT_FAILED');
  expect(found.map(({ message }) => message.includes(minerId!))).toEqual(found.map(() => true));
  const view = server
    .snapshot()
    .stages.flatMap(({ miners }) => miners)
    .find(({ id }) => id === minerId)!;
  expect(view.bannedUntil! - Date.now(), 'an hour').toBeGreaterThan(50 * 60_000);
  // The others go on, and are audited too.
  await expect
    .poll(async () => (await json<{ audits: AuditEntry[] }>('/v1/audits')).audits.filter((audit) => audit.minerId !== minerId).length, {
      timeout: 50_000,
    })
    .toBeGreaterThan(1);
  const { audits, validators } = await json<{ audits: AuditEntry[]; validators: ValidatorView[] }>('/v1/audits');
  for (const audit of audits)
    expect([audit.minerId === minerId, audit.verdict.outcome]).toEqual([
      audit.minerId === minerId,
      audit.minerId === minerId ? 'failed' : 'passed',
    ]);
  expect(validators).toMatchObject([{ hotkey: null, connected: true, disputes: 0, secretHash: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
  const own = await json<{ audits: AuditEntry[] }>(`/v1/audits?miner=${minerId}&limit=1`);
  expect(own.audits).toMatchObject([{ minerId, verdict: { outcome: 'failed' } }]);
  // All of it is in the public ledger, by device: whoever recomputes scores knows who may be paid.
  const ledger = async () => (await json<{ rounds: RoundWork[] }>(`/v1/runs/${server.snapshot().config.runId}/ledger?after=0`)).rounds;
  const deviceOf = async (id: string) => (await json<{ device: string }>(`/v1/miners/${id}`)).device;
  await expect.poll(async () => (await ledger()).some(({ convicted }) => convicted.length > 0), { timeout: 50_000 }).toBe(true);
  await expect.poll(async () => (await ledger()).some(({ passed }) => passed!.length > 0), { timeout: 50_000 }).toBe(true);
  const device = await deviceOf(minerId!);
  for (const { convicted, passed } of await ledger()) {
    expect([[], [device]]).toContainEqual(convicted);
    expect(passed).not.toContain(device);
  }
  const others = await Promise.all(honest.map((miner) => deviceOf(miner.state!.minerId!)));
  expect(others).toEqual(expect.arrayContaining((await ledger()).flatMap(({ passed }) => passed!)));
  await Promise.all([...honest, cheat].map((miner) => miner.stop()));
  await server.close();
});
