/** A server whose log was written under other rules: by a release that was stopped as it should be, and by one that was killed. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { RULES } from '@starling/coordinator';
import { type NodeMiner, startNodeMiner } from '@starling/miner/node';
import type { MinerView, Moment, MomentRange, RunSnapshot, StepPoint } from '@starling/protocol';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type ServerProcess, startServerProcess } from './process.ts';

/** Of a release that is not there any more. */
const BEFORE = RULES + 100;

let data: string;
let server: ServerProcess;
let miner: NodeMiner | null = null;
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'starling-upgrade-'));
});
afterEach(async () => {
  await miner?.stop();
  await server.kill();
  await rm(data, { recursive: true, force: true });
});

const ask = async <T>(path: string) => (await fetch(`${server.url}${path}`)).json() as Promise<T>;
const run = () => ask<RunSnapshot>('/v1/run');
const reach = (step: number) => expect.poll(async () => (await run()).step, { timeout: 60_000 }).toBeGreaterThanOrEqual(step);
const start = async (port = 0) => {
  const options = ['--preset', 'pico', '--stages', '1', '--sequences', '1', '--microbatches', '6', '--checkpoint-every', '1000'];
  server = await startServerProcess(['--port', `${port}`, '--data', data, ...options]);
};

/** As if a release with rules `to` had written what is of rules `from`. */
function rewrite(from: number, to: number): void {
  const log = new DatabaseSync(join(data, 'log.sqlite'));
  const other = (text: string) => text.replace(`"rules":${from}`, `"rules":${to}`);
  for (const { seq, body } of log.prepare(`SELECT seq, body FROM entries WHERE body LIKE '{"type":"genesis"%'`).all())
    log.prepare('UPDATE entries SET body = ? WHERE seq = ?').run(other(body as string), seq!);
  for (const { seq, state } of log.prepare('SELECT seq, state FROM snapshots').all()) {
    const text = other(state as string);
    const hash = createHash('sha256').update(text).digest('hex');
    log.prepare('UPDATE snapshots SET state = ?, hash = ? WHERE seq = ?').run(text, hash, seq!);
  }
  log.close();
}

const replay = async () =>
  (await promisify(execFile)(process.execPath, [join(import.meta.dirname, 'replay.ts'), '--data', data])).stdout.split('\n');

/** Four servers and their miner start. */
const timeout = 240_000;

it('goes on with all there was after SIGTERM, and readers tell what they show by other rules', { timeout }, async () => {
  await start();
  miner = startNodeMiner({ url: server.url, name: 'n', backend: 'wasm' });
  // Some three hundred entries.
  await reach(20);
  const [{ id, microbatches }] = (await run()).stages[0]!.miners as [MinerView];
  expect(await server.terminate()).toBe(0);
  const [, snapshotSeq] = /^The snapshot at entry (\d+) and the 0 inputs after it give the same\.$/.exec((await replay()).at(-2)!)!;
  rewrite(RULES, BEFORE);

  await start(server.port);
  const { step, counters } = await run();
  expect(step).toBeGreaterThanOrEqual(2);
  expect((await ask<StepPoint[]>('/v1/run/points')).map((point) => point.step)).toEqual(Array.from({ length: step }, (_, i) => i + 1));
  expect((await ask<MinerView>(`/v1/miners/${id}`)).microbatches).toBeGreaterThanOrEqual(microbatches);
  expect(counters.resynchronised).toBe(0);
  await reach(step + 1);
  expect(
    (await run()).stages[0]!.miners.map((view) => view.id),
    'the same miner, and no other',
  ).toEqual([id]);

  const { last } = await ask<MomentRange>('/v1/moments');
  expect((await ask<Moment>('/v1/moments/20')).otherRules).toEqual({ written: BEFORE, shown: RULES });
  expect((await ask<Moment>(`/v1/moments/${last.seq}`)).otherRules).toBeNull();
  const after = await ask<Moment>(`/v1/moments/${Number(snapshotSeq) + 1}`);
  expect(after.otherRules).toBeNull();
  expect(after.moves[0]!.seq, 'what moved before a snapshot is told, too').toBeLessThanOrEqual(Number(snapshotSeq));
  await ask<Moment>('/v1/moments/19');
  const on = await ask<Moment>(`/v1/moments/${Number(snapshotSeq) + 2}`);
  expect(on.otherRules).toBeNull();
  expect(on.moves[0]!.seq, 'and to who was shown a moment before it, all that moved since').toBeLessThanOrEqual(Number(snapshotSeq) - 200);
  const lines = await replay();
  expect(lines.at(-3)).toMatch(
    new RegExp(`^Up to entry \\d+ it is of rules ${BEFORE}; handled by rules ${RULES} it may give another state`),
  );
  expect(lines.at(-2)).toMatch(/^State after entry \d+, from the snapshot at entry \d+: SHA-256 [0-9a-f]{64}$/);

  // The rules are its own now: it may be killed.
  await server.kill();
  await start(server.port);
  expect((await run()).step).toBeGreaterThanOrEqual(step + 1);
});

it('refuses the log of a server that was killed, and does what it says', { timeout }, async () => {
  await start();
  miner = startNodeMiner({ url: server.url, name: 'n', backend: 'wasm' });
  await reach(1);
  await server.kill();
  rewrite(RULES, BEFORE);
  await expect(start(server.port)).rejects.toThrow(
    new RegExp(`Entry 2 of the log was written under rules ${BEFORE}: .* stop it with SIGTERM.*\\[LOG_UNREADABLE\\]`),
  );
  // The release that wrote it.
  rewrite(BEFORE, RULES);
  await start(server.port);
  expect(await server.terminate()).toBe(0);
  rewrite(RULES, BEFORE);
  await start(server.port);
  expect((await run()).step).toBeGreaterThanOrEqual(1);
});
