/** A miner whose device is lost, or that is to rest, by a virtual clock: what it does when, what is said meanwhile, and who is told. */
import type { Kernels } from '@starling/kernels';
import { cutStages, presetOf } from '@starling/model';
import { type Assign, codeMissing, explain, type Lease, type RunConfig, SwarmError, type Waiting, type Welcome } from '@starling/protocol';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Connection, ConnectionEvents } from './connection.ts';
import { Miner, type MinerOptions } from './miner.ts';
import { Status } from './status.ts';
import type { Term, TermParts } from './term.ts';

const { shape, sequences } = presetOf('nano');
const RUN = { model: shape, stages: cutStages(shape, 1), sequences } as RunConfig;
const WELCOME = { minerId: 'm', token: 't', server: 'x', run: RUN } as unknown as Welcome;

/** What the miner did with its connection, in order. */
let said: string[];
let server: ConnectionEvents;
/** There is a server to say hello to. */
let reachable: boolean;
/** Something is to be handed in. */
let owes: boolean;
/** Until a stage is loaded. */
let loading: Promise<void>;
/** What the server gives, before it hears that this miner rests, and what it hears of that. */
let given: Lease[];
let heard: string[];
/** The miner's own. */
let blobs: TermParts['blobs'];
vi.mock('./connection.ts', () => ({
  Connection: class implements Pick<Connection, 'join' | 'stepAside' | 'tell' | 'request' | 'quieten' | 'leave' | 'socketId'> {
    readonly socketId = 's';
    constructor(_url: string, events: ConnectionEvents) {
      server = events;
      this.join();
    }
    join() {
      if (!reachable) return;
      queueMicrotask(() => {
        said.push(`hello with ${server.hello().backend}`);
        server.welcome(WELCOME);
      });
    }
    stepAside() {
      said.push('aside');
    }
    tell() {}
    request(name: string, message: object) {
      if ('leaseId' in message) heard.push(`${name} ${message.leaseId}`);
      return Promise.reject(new Error('Nobody answers.'));
    }
    async quieten() {
      for (const lease of given.splice(0)) server.command('lease', lease);
    }
    leave() {
      heard.push('leave');
      return Promise.resolve();
    }
  },
}));

/** Computing a lease takes so long. */
const LEASE_MS = 2_000;
vi.mock('./term.ts', () => ({
  Term: class implements Pick<Term, 'ended' | 'ready' | 'owes' | 'hold' | 'take' | 'work' | 'end' | 'giveBack'> {
    ended = false;
    ready = false;
    get owes() {
      return owes;
    }
    readonly status: Status;
    constructor(_round: number, parts: TermParts) {
      this.status = parts.status;
      ({ blobs } = parts);
    }
    async hold() {
      await loading;
      this.ready = true;
    }
    take() {
      return true;
    }
    async work() {
      this.status.act('backward', null);
      await new Promise((resolve) => setTimeout(resolve, LEASE_MS));
    }
    end() {
      this.ended = true;
    }
    giveBack() {
      return [];
    }
  },
}));

beforeEach(() => {
  said = [];
  reachable = true;
  owes = false;
  given = [];
  heard = [];
  loading = Promise.resolve();
  vi.useFakeTimers({ now: 0 });
});
afterEach(() => vi.useRealTimers());

const LOST = new SwarmError('DEVICE_LOST', 'The GPU device was lost.');
const WRONG = new SwarmError('DEVICE_WRONG', 'It computes other numbers than it should.');
const AWAY = new SwarmError('WEBGPU_UNAVAILABLE', 'There is no adapter.');
const MERGING: Waiting = { ...explain({ code: 'MERGING', message: 'The stage merges.' }), since: 0, until: null };

/**
 * A miner on a GPU. `lose` takes it away; while `away`, none is to be had, while `missing`, no code for any device, and while `wrong`, it computes
 * other numbers than a run’s.
 */
async function startOn(backend: MinerOptions['backend']) {
  const gpu = { away: false, missing: false, wrong: false, lose: (_: SwarmError): void => {}, tries: [] as number[] };
  const createKernels = async (kind: 'webgpu' | 'wasm') => {
    if (kind === 'webgpu') gpu.tries.push(Date.now());
    if (gpu.missing) throw codeMissing();
    if (kind === 'webgpu' && gpu.away) throw AWAY;
    const lost = new Promise<SwarmError>((resolve) => {
      if (kind === 'webgpu') gpu.lose = resolve;
    });
    return {
      backend: kind,
      adapter: kind,
      software: true,
      lost,
      async withPrecision() {
        if (kind === 'webgpu' && gpu.wrong) throw WRONG;
        return this;
      },
      memory: () => ({ tensors: 0, bytes: 0 }),
      close() {},
    } as unknown as Kernels;
  };
  const miner = new Miner(
    { url: 'http://x', name: '', backend },
    { createKernels, storage: { get: async () => null, set: async () => {} } },
  );
  await miner.start();
  return { miner, gpu };
}
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test('while the device is away that alone is said, with its next try, and a place is asked for when it is there again', async () => {
  const { miner, gpu } = await startOn('webgpu');
  gpu.away = true;
  gpu.lose(LOST);
  await pass(0);
  // The first try is made at once; it was in vain.
  expect(said).toEqual(['hello with webgpu', 'aside', 'aside']);
  const waits = { activity: 'waiting', error: { code: 'WEBGPU_UNAVAILABLE' }, waiting: { code: 'DEVICE', since: 0, until: 2_000 } };
  expect(miner.state).toMatchObject(waits);
  expect(miner.state.reason).toContain('There is no adapter.');

  // What the server says now is about a place that was given up; nor does it matter that the connection goes.
  server.command('wait', MERGING);
  server.lost('transport close', 500);
  expect(miner.state).toMatchObject(waits);
  await pass(2_000);
  expect(miner.state.waiting).toMatchObject({ code: 'DEVICE', since: 0, until: 6_000 });

  gpu.away = false;
  await pass(4_000);
  expect(said.slice(3)).toEqual(['aside', 'hello with webgpu']);
  expect(miner.state).toMatchObject({ activity: 'waiting', error: null, waiting: { code: 'IDLE' } });
  server.command('wait', MERGING);
  expect(miner.state.waiting).toEqual(MERGING);
  await miner.stop('');
});

test('while there is no connection that alone is said, though a download fails for want of it, too', async () => {
  const { miner } = await startOn('wasm');
  server.command('assign', { stage: 0 } as Assign);
  await pass(0);
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
  const ended = new AbortController();
  const download = blobs.get('ab'.repeat(32), ended.signal).catch(() => 'ended');
  await pass(0);
  expect(miner.state.error, 'a server that answers').toMatchObject({ code: 'HTTP_FAILED' });
  server.lost('transport close', 90_000);
  await pass(30_000);
  expect(miner.state).toMatchObject({ activity: 'connecting', error: { code: 'CONNECTION_LOST' }, waiting: { code: 'OFFLINE' } });
  ended.abort();
  await pass(30_000);
  expect(await download).toBe('ended');
  vi.unstubAllGlobals();
  await miner.stop('');
});

test('a server that goes away while the miner computes, or has no device, is told of as soon as that is over', async () => {
  const { miner, gpu } = await startOn('webgpu');
  await pass(0);
  server.command('assign', { stage: 0, round: 1 } as Assign);
  server.command('lease', { id: 'a' } as Lease);
  await pass(0);
  reachable = false;
  server.lost('transport close', 90_000);
  const since = Date.now();
  await pass(LEASE_MS);
  const offline = { activity: 'connecting', error: { code: 'CONNECTION_LOST' }, waiting: { code: 'OFFLINE', since } };
  expect(miner.state, 'the lease is computed').toMatchObject(offline);
  expect(miner.state.spent.compute).toBe(LEASE_MS);

  gpu.away = true;
  gpu.lose(LOST);
  await pass(0);
  server.lost('connect error', 96_000);
  expect(miner.state.waiting).toMatchObject({ code: 'DEVICE' });
  gpu.away = false;
  await pass(2_000);
  expect(miner.state, 'the device is there again').toMatchObject({ ...offline, waiting: { code: 'OFFLINE', since, until: 96_000 } });

  server.welcome(WELCOME);
  expect(miner.state).toMatchObject({ activity: 'waiting', error: null, waiting: { code: 'IDLE' } });
  await miner.stop('');
});

test('where WebGPU was asked for, it is waited for, for a minute at most between two tries', async () => {
  const { miner, gpu } = await startOn('webgpu');
  gpu.away = true;
  gpu.lose(LOST);
  await pass(300_000);
  expect(gpu.tries.slice(1).map((at, i, all) => (at - (all[i - 1] ?? 0)) / 1_000)).toEqual([0, 2, 4, 8, 16, 32, 60, 60, 60]);
  expect(said.filter((word) => word.startsWith('hello'))).toHaveLength(1);
  await miner.stop('');
});

test('what is missing of its code is neither tried again nor taken for a missing GPU: mining ends, and that is said', async () => {
  const { miner, gpu } = await startOn('auto');
  gpu.missing = true;
  gpu.lose(LOST);
  await pass(2_000);
  expect(miner.state).toMatchObject({ activity: 'stopped', error: { code: 'CODE_MISSING' }, fallback: null });
  expect(gpu.tries).toHaveLength(2);
  await pass(300_000);
  expect(gpu.tries).toHaveLength(2);
});

test('in auto a GPU that stays away, or is lost again and again, is done without after a few tries, and that is said', async () => {
  for (const away of [true, false]) {
    said = [];
    const { miner, gpu } = await startOn('auto');
    gpu.away = away;
    for (let losses = 0; losses < (away ? 1 : 5); losses++) {
      expect(miner.state.backend).toBe('webgpu');
      gpu.lose(LOST);
      await pass(16_000);
    }
    expect(gpu.tries).toHaveLength(1 + 4);
    expect(miner.state).toMatchObject({ backend: 'wasm', error: null, fallback: { code: away ? 'WEBGPU_UNAVAILABLE' : 'DEVICE_LOST' } });
    expect(miner.state.fallback!.message).toContain('the next Start tries again');
    expect(said.at(-1)).toBe('hello with wasm');
    await miner.stop('');
  }
});

test('a GPU that computes other numbers than the run’s is done without at once; where only a GPU will do, mining ends', async () => {
  for (const backend of ['auto', 'webgpu'] as const) {
    said = [];
    const { miner, gpu } = await startOn(backend);
    gpu.wrong = true;
    server.command('assign', { stage: 0, round: 1, version: 0 } as Assign);
    await pass(100);
    expect(gpu.tries).toHaveLength(1);
    if (backend === 'auto') {
      expect(miner.state).toMatchObject({ backend: 'wasm', error: null, fallback: { code: 'DEVICE_WRONG' } });
      expect(said.at(-1)).toBe('hello with wasm');
    } else expect(miner.state).toMatchObject({ activity: 'stopped', error: { code: 'DEVICE_WRONG' } });
    await miner.stop('');
  }
});

test('between leases it rests for its intensity, and says so, until when, and what share comes of it', async () => {
  const { miner } = await startOn('wasm');
  await pass(0);
  server.command('assign', { stage: 0, round: 1 } as Assign);
  miner.setIntensity(0.5);
  server.command('lease', { id: 'a' } as Lease);
  server.command('lease', { id: 'b' } as Lease);
  await pass(LEASE_MS);
  const now = Date.now();
  const rests = {
    code: 'INTENSITY',
    message: 'Rests after a microbatch: it is to compute 50 % of the time.',
    since: now,
    until: now + LEASE_MS,
  };
  expect(miner.state).toMatchObject({ activity: 'waiting', waiting: rests });
  // What the server says meanwhile is no reason to wait; that its owner paused it is one.
  server.command('wait', MERGING);
  expect(miner.state.waiting).toMatchObject(rests);
  miner.pause({ ...MERGING, code: 'PAUSED' });
  expect(miner.state.waiting).toMatchObject({ code: 'PAUSED' });
  miner.resume();
  expect(miner.state.waiting).toMatchObject(rests);

  await pass(LEASE_MS);
  expect(miner.state).toMatchObject({ activity: 'backward', waiting: null });
  miner.setIntensity(0.1);
  await pass(LEASE_MS);
  expect(miner.state.waiting).toMatchObject({ code: 'INTENSITY', message: expect.stringContaining('17 %'), until: Date.now() + 10_000 });
  expect(miner.state.spent.compute).toBe(2 * LEASE_MS);
  // Another share holds at once.
  miner.setIntensity(1);
  await pass(0);
  expect(miner.state.waiting).toMatchObject({ code: 'IDLE' });
  await miner.stop('');
  expect(vi.getTimerCount()).toBe(0);
});

test('whoever is to finish and cannot hand in what it holds says so after two minutes', async () => {
  const { miner } = await startOn('wasm');
  await pass(0);
  server.command('assign', { stage: 0, round: 1 } as Assign);
  await pass(0);
  owes = true;
  reachable = false;
  server.lost('transport close', 90_000);
  const finished = miner.finish('Finish was pressed.');
  expect(miner.state.paused).toMatchObject({ code: 'FINISHING', since: 0, until: 120_000 });
  await pass(119_000);
  expect(miner.state.activity).not.toBe('stopped');
  await pass(1_000);
  await finished;
  expect(miner.state).toMatchObject({ activity: 'stopped', tokensPerSecond: 0 });
  expect(miner.state.reason).toBe('Finish was pressed. Not all could be handed in within 120 s: others compute the rest again.');
  expect(vi.getTimerCount()).toBe(0);
});

test('whoever is to finish gives back what it was given of the next step meanwhile, and then leaves', async () => {
  const { miner } = await startOn('wasm');
  await pass(0);
  server.command('assign', { stage: 0, round: 1 } as Assign);
  await pass(0);
  given = [{ id: 'a', version: 1 } as Lease, { id: 'b', version: 1 } as Lease];
  await miner.finish('Finish was pressed.');
  expect(heard).toEqual(['busy a', 'busy b', 'leave']);
});

test('whoever is to finish before its stage is there stops at once', async () => {
  const { miner } = await startOn('wasm');
  await pass(0);
  loading = new Promise(() => {});
  server.command('assign', { stage: 0, round: 1 } as Assign);
  await pass(0);
  void miner.finish('Finish was pressed.');
  await pass(0);
  expect(miner.state).toMatchObject({ activity: 'stopped', reason: 'Finish was pressed.' });
  expect(vi.getTimerCount()).toBe(0);
});

test('a rate to which nothing is added falls to 0, whatever else happens', async () => {
  const status = new Status('', { tell: () => {}, memory: () => null });
  const rates: number[] = [];
  status.onState(({ tokensPerSecond }) => rates.push(tokensPerSecond));
  status.settled(true, 3_000);
  await pass(60_000);
  expect(rates).toEqual([3_000, 600, 300, 200, 150, 120, 0]);
  expect(vi.getTimerCount()).toBe(0);
});
