/** Several validators of a real run: each with its own hotkey, secret and weights; one that lies and one that goes away stop nobody. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RemoteDevChain, Sr25519Key } from '@starling/chain';
import { startNodeMiner } from '@starling/miner/node';
import type { AuditEntry, RunEvent, ValidatorView, WeightsView } from '@starling/protocol';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LocalValidator } from '../audits/local-validator.ts';
import { startServer } from '../index.ts';
import { Validator } from './validator.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'validators-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const seedOf = (name: string) => createHash('sha256').update(name).digest('hex');
const keyOf = (name: string) => Sr25519Key.fromSeed(seedOf(name));
const TIMEOUT = 90_000;

it('works with several validators, of whom one lies and one goes away', async () => {
  const names = ['first', 'second', 'liar'];
  const server = await startServer({
    ...{ port: 0, dataDir: join(folder, 'run'), stages: 2, sequences: 1, microbatchesPerStep: 6, log: () => {} },
    ...{ roundSteps: 2, heldSteps: 2, blockMs: 100, tempo: 10, validators: names.map((name) => keyOf(name).address) },
  });
  const json = async <T>(path: string) => (await (await fetch(`${server.url}${path}`)).json()) as T;
  const said: string[] = [];
  const weights = new Map<string, WeightsView>();
  const start = (name: string, more: object = {}) =>
    new Validator({
      ...{ url: server.url, hotkey: keyOf(name), seed: seedOf(name), backend: 'wasm' as const, log: (line: string) => said.push(line) },
      onWeights: (view) => weights.set(name, view),
      ...more,
    });
  const computing = new LocalValidator('wasm');
  const lies = {
    validate: async (...work: Parameters<LocalValidator['validate']>) => {
      const verdict = await computing.validate(...work);
      return { ...verdict, outcome: verdict.outcome === 'failed' ? ('passed' as const) : ('failed' as const) };
    },
    close: () => computing.close(),
  };
  const first = start('first');
  const second = start('second');
  const liar = start('liar', { local: lies });
  const stranger = start('stranger');
  const honest = ['a', 'b', 'c'].map((name) => startNodeMiner({ url: server.url, name, backend: 'wasm' }));
  const cheat = startNodeMiner({ url: server.url, name: 'cheat', backend: 'wasm', tampering: 'lazy backward' });

  const events = () => json<RunEvent[]>('/v1/run/events');
  const count = async (code: string) => (await events()).filter((event) => event.code === code).length;
  await expect.poll(() => count('AUDIT_FAILED'), { timeout: TIMEOUT }).toBeGreaterThan(0);
  await expect.poll(() => count('VALIDATOR_DISPUTED'), { timeout: TIMEOUT }).toBeGreaterThan(0);
  await expect.poll(() => [...weights.keys()].sort(), { timeout: TIMEOUT }).toEqual(['first', 'liar', 'second']);
  expect(
    said.some((line) => line.includes('[VALIDATOR_REFUSED]')),
    'without a permit nobody is let in',
  ).toBe(true);

  // One goes away: the others go on.
  await second.close();
  const before = await json<{ validators: ValidatorView[] }>('/v1/audits');
  const auditsOf = (validators: ValidatorView[], name: string) => validators.find(({ hotkey }) => hotkey === keyOf(name).address)!.audits;
  await expect
    .poll(async () => auditsOf((await json<{ validators: ValidatorView[] }>('/v1/audits')).validators, 'first'), { timeout: TIMEOUT })
    .toBeGreaterThan(auditsOf(before.validators, 'first'));
  const { audits, validators } = await json<{ audits: AuditEntry[]; validators: ValidatorView[] }>('/v1/audits?limit=1000');
  const isConnected = (name: string) => validators.find(({ hotkey }) => hotkey === keyOf(name).address)!.connected;
  expect([isConnected('first'), isConnected('second')]).toEqual([true, false]);
  // Whatever the liar said: only the one that cheats was found false.
  for (const { minerId, verdict } of audits) if (minerId !== cheat.state!.minerId) expect(verdict.outcome).toBe('passed');
  expect(new Set(audits.map(({ validator }) => validator)).size, 'more than one audits').toBeGreaterThan(1);

  // The chain knows each one's own weights, and pays nothing to the one that cheats.
  const chain = await RemoteDevChain.open(server.url, { pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) });
  const { neurons } = await chain.metagraph();
  for (const name of names)
    expect(
      neurons.find(({ hotkey }) => hotkey === keyOf(name).address),
      name,
    ).toMatchObject({ lastUpdate: expect.any(Number) });
  expect(weights.get('first')!.weights.filter(({ weight }) => weight > 0).length).toBeGreaterThan(0);
  await chain.close();
  await Promise.all([...honest, cheat].map((miner) => miner.stop()));
  await Promise.all([first, liar, stranger].map((validator) => validator.close()));
  await server.close();
});
