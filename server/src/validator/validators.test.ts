/** Several validators of a real run: each with its own hotkey, secret and weights; one that lies and one that goes away stop nobody. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RemoteDevChain, Sr25519Key } from '@starling/chain';
import { startNodeMiner } from '@starling/miner/node';
import {
  type AuditEntry,
  PROTOCOL_VERSION,
  type Reply,
  type RunEvent,
  toHex,
  type ValidatorView,
  validatorText,
  type WeightsView,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { Server } from 'socket.io';
import { io, type Socket } from 'socket.io-client';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { LocalValidator } from '../audits/local-validator.ts';
import { type RunningServer, type ServerOptions, startServer } from '../index.ts';
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
      ...{
        url: server.url,
        hotkey: keyOf(name),
        seed: seedOf(name),
        backend: 'wasm' as const,
        dataDir: folder,
        log: (line: string) => said.push(line),
      },
      onWeights: (view) => weights.set(name, view),
      ...more,
    });
  // Permits come at the end of an epoch; a validator that is refused until then tries again only after seconds.
  const permits = async () => (await server.chain()).neurons.filter(({ permit }) => permit).map(({ hotkey }) => hotkey);
  await expect.poll(permits, { timeout: TIMEOUT }).toEqual(expect.arrayContaining(names.map((name) => keyOf(name).address)));
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

  // One goes away after it has audited: the others go on.
  const auditsOf = async (name: string) =>
    (await json<{ validators: ValidatorView[] }>('/v1/audits')).validators.find(({ hotkey }) => hotkey === keyOf(name).address)!.audits;
  await expect.poll(() => auditsOf('second'), { timeout: TIMEOUT }).toBeGreaterThan(0);
  await second.close();
  const before = await auditsOf('first');
  await expect.poll(() => auditsOf('first'), { timeout: TIMEOUT }).toBeGreaterThan(before);
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

// ── who is let in ───────────────────────────────────────────────────────────────────────────────

/** A run without miners, on a chain that gives permits at once. */
async function serverWith(name: string, more: Partial<ServerOptions>): Promise<RunningServer> {
  const server = await startServer({ port: 0, dataDir: join(folder, name), log: () => {}, blockMs: 50, tempo: 2, ...more });
  onTestFinished(() => server.close());
  return server;
}
const connect = (url: string, extraHeaders: Record<string, string> = {}): Socket => {
  const socket = io(`${url}/validate`, { transports: ['websocket'], forceNew: true, parser: packets, extraHeaders });
  onTestFinished(() => void socket.disconnect());
  return socket;
};
const ask = async <T>(socket: Socket, name: string, message: unknown) => (await socket.emitWithAck(name, message)) as Reply<T>;
/** Says hello as a validator that connected to `origin`; what the server answers: `in`, or why not. */
async function hello(socket: Socket, name: string, origin: string): Promise<string> {
  const challenge = await ask<{ nonce: string }>(socket, 'challenge', {});
  if (!challenge.ok) return challenge.error.code;
  const { nonce } = challenge.value;
  const key = keyOf(name);
  const signature = toHex(await key.sign(new TextEncoder().encode(validatorText(origin, nonce))));
  const said = await ask(socket, 'hello', { protocol: PROTOCOL_VERSION, hotkey: key.address, origin, nonce, signature, backend: 'wasm' });
  return said.ok ? 'in' : `${said.error.code} ${said.error.message}`;
}

it('lets in who has a permit and the stake, and says what is missing', async () => {
  const validators = [`${keyOf('rich').address}=600`, `${keyOf('poor').address}=300`];
  const server = await serverWith('stakes', { validators, validatorStake: 600 });
  const socket = connect(server.url);
  await expect.poll(() => hello(socket, 'rich', server.url), { timeout: TIMEOUT }).toBe('in');
  // Any stake at all gives a permit on this chain.
  await expect
    .poll(() => hello(socket, 'poor', server.url), { timeout: TIMEOUT })
    .toMatch(/^VALIDATOR_REFUSED .* has a validator permit on this subnet and 300[.\d]* TAO of stake; it needs a permit and 600\.$/);
  expect(await hello(socket, 'stranger', server.url)).toMatch(/has no validator permit on this subnet and 0 TAO of stake/);
});

it('lets nobody in whose hello another server passes on', async () => {
  const server = await serverWith('relayed', { validators: [keyOf('first').address] });
  await expect.poll(() => hello(connect(server.url), 'first', server.url), { timeout: TIMEOUT }).toBe('in');

  // It passes everything on, under the Host of either, and says what it likes of the origin.
  const http = createServer(async ({ url }, response) => response.end(await (await fetch(`${server.url}${url}`)).text()));
  const relay = new Server(http, { parser: packets });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => relay.close());
  const own = `127.0.0.1:${(http.address() as AddressInfo).port}`;
  const answers: string[] = [];
  relay.of('/validate').on('connection', (socket) => {
    const hidden = connect(server.url, { host: own });
    socket.on('challenge', async (message, reply) => reply(await hidden.emitWithAck('challenge', message)));
    socket.on('hello', async (message: object, reply) => {
      for (const more of [{}, { origin: server.url }]) {
        const said = await ask(hidden, 'hello', { ...message, ...more });
        answers.push(said.ok ? 'in' : said.error.code);
      }
      reply({ ok: false, error: { code: 'BUSY', message: 'Later.' } });
    });
  });
  const options = { hotkey: keyOf('first'), seed: seedOf('first'), backend: 'wasm' as const, log: () => {} };
  const deceived = new Validator({ ...options, dataDir: folder, url: `http://${own}` });
  onTestFinished(() => deceived.close());
  await expect.poll(() => answers, { timeout: TIMEOUT }).toEqual(['ORIGIN_WRONG', 'SIGNATURE_INVALID']);
});

it('goes by the address it was told it is known by', async () => {
  const server = await serverWith('named', { validators: [keyOf('first').address], publicUrl: 'https://example.org/' });
  const socket = connect(server.url);
  expect(await hello(socket, 'first', server.url)).toMatch(/^ORIGIN_WRONG .*this server is https:\/\/example\.org\.$/);
  await expect.poll(() => hello(socket, 'first', 'https://example.org'), { timeout: TIMEOUT }).toBe('in');
});

it('looks at no signature without a challenge of its own', async () => {
  const server = await serverWith('unasked', {});
  const [nonce, signature] = ['ab'.repeat(16), 'cd'.repeat(64)];
  const said = { protocol: PROTOCOL_VERSION, hotkey: keyOf('first').address, origin: server.url, nonce, signature, backend: 'wasm' };
  expect(await ask(connect(server.url), 'hello', said)).toMatchObject({ ok: false, error: { code: 'DELEGATION_REPLAYED' } });
});
