/**
 * Many miners in one process that speak the whole protocol and compute nothing: whatever they are leased they answer,
 * after a set time, with tensors made beforehand. Or as many sockets of a bare echo. Started by `wire.ts` as a process of
 * its own, so that the server has a core to itself.
 */
import {
  type Assign,
  type Collect,
  encodeFrame,
  type Lease,
  type Merge,
  PROTOCOL_VERSION,
  type Reduce,
  type Reply,
  type RunSnapshot,
  sha256Hex,
  type Welcome,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { ShardedGradient } from '@starling/reduce';
import { io, type Socket } from 'socket.io-client';

export interface WireTask {
  url: string;
  /** `echo`: a bare Socket.IO server is at the other end. `watch`: spectators, whose updates are counted as answers. */
  kind: 'mine' | 'echo' | 'watch';
  sockets: number;
  /** Connections opened at a time. */
  wave: number;
  /** From a lease to its receipt, or from one echo to the next: in the mean, half as long to one and a half. */
  delayMs: number;
}

/** Sent once a second: receipts answered since the last one, how many of them well, and their waits in ms. */
export interface WireReport {
  type: 'report';
  connected: number;
  answered: number;
  refused: number;
  waits: number[];
}

const WAITS_SAMPLED = 10_000;

let connected = 0;
let answered = 0;
let refused = 0;
let waits: number[] = [];

/** Emits, and books how long the answer took. */
function emit(socket: Socket, name: string, message: unknown, then: () => void): void {
  const sent = performance.now();
  socket.emit(name, message, (reply: Reply<unknown>) => {
    answered += 1;
    if (!reply.ok) refused += 1;
    if (waits.length < WAITS_SAMPLED) waits.push(performance.now() - sent);
    then();
  });
}

/** At once when there is nothing to wait for; else never in step with the others. */
const after = (ms: number, task: () => void) => (ms > 0 ? setTimeout(task, ms * (0.5 + Math.random())) : task());

/** As many messages of a KiB under way as miners have leases. */
const UNDER_WAY = 2;

function openEcho({ url, delayMs }: WireTask): Promise<void> {
  const payload = new Uint8Array(1024);
  const socket = io(url, { transports: ['websocket'], forceNew: true });
  const next = () => after(delayMs, () => emit(socket, 'echo', { payload }, next));
  return new Promise((resolve) => {
    socket.once('connect', () => {
      connected += 1;
      for (let i = 0; i < UNDER_WAY; i++) next();
      resolve();
    });
  });
}

function openSpectator({ url }: WireTask): Promise<void> {
  const socket = io(`${url}/watch`, { transports: ['websocket'], forceNew: true, parser: packets });
  socket.on('update', () => {
    answered += 1;
  });
  return new Promise((resolve) => {
    socket.once('snapshot', () => {
      connected += 1;
      resolve();
    });
  });
}

async function prepareMining({ url, delayMs }: WireTask): Promise<(index: number) => Promise<void>> {
  const run = (await (await fetch(`${url}/v1/run`)).json()) as RunSnapshot;
  const { model, sequences } = run.config;
  const activation = new Float32Array(sequences * model.context * model.width).fill(0.5);
  const frame = await encodeFrame(activation, [sequences, model.context, model.width]);
  const outputHash = await sha256Hex(activation);
  const last = run.config.stages.length - 1;
  const hashes = run.stages.map((stage) => stage.parameterHash);
  const { gradient: codec, merged } = run.config;
  const gradientOf = (stage: number, count: number) => new ShardedGradient({ codec, merged }, run.stages[stage]!.parameters, count);
  const put = async (bytes: Uint8Array<ArrayBuffer>, authorization: string): Promise<string> => {
    const name = await sha256Hex(bytes);
    await fetch(`${url}/v1/blobs/${name}`, { method: 'PUT', body: bytes, headers: { authorization } });
    return name;
  };

  const answer = (socket: Socket, { id, kind, stage, inputHash }: Lease) => {
    const hasOutput = kind === 'backward' ? stage > 0 : stage < last;
    const receipt = {
      leaseId: id,
      inputHash,
      outputHash: hasOutput ? outputHash : null,
      output: hasOutput ? frame : null,
      lossSum: stage === last ? 5 * sequences * model.context : null,
      computeMs: 0,
    };
    after(delayMs, () => emit(socket, 'receipt', receipt, () => {}));
  };

  return (index) =>
    new Promise<void>((resolve) => {
      const socket = io(url, { transports: ['websocket'], forceNew: true, parser: packets });
      let authorization = '';
      socket.on('lease', (lease: Lease) => answer(socket, lease));
      socket.on('assign', ({ stage, round, version }: Assign) => {
        socket.emit('ready', { stage, round, version, parameterHash: hashes[stage] }, () => {
          connected += 1;
          resolve();
        });
      });
      socket.on('collect', async ({ stage, version, round, microbatches, shards: count }: Collect) => {
        // A gradient of zeros is the same blobs for everybody, and changes nothing but by weight decay.
        const encoded = gradientOf(stage, count).encode(new Float32Array(run.stages[stage]!.parameters));
        const shards: string[] = [];
        for (const bytes of encoded) shards.push(await put(bytes, authorization));
        socket.emit('contribution', { stage, version, round, shards, microbatches }, () => {});
      });
      socket.on('reduce', async ({ stage, version, round, shard, shards, contributions }: Reduce) => {
        const uploads = contributions.map(async ({ hash, scale }) => {
          const response = await fetch(`${url}/v1/blobs/${hash}`);
          return { bytes: new Uint8Array(await response.arrayBuffer()), scale };
        });
        const sum = gradientOf(stage, shards).reduce(shard, await Promise.all(uploads));
        socket.emit('reduced', { stage, version, round, shard, hash: await put(sum, authorization) }, () => {});
      });
      socket.on('merge', ({ stage, version, parameterHash }: Merge) => {
        hashes[stage] = parameterHash;
        socket.emit('applied', { stage, version, parameterHash }, () => {});
      });
      socket.on('connect', () => {
        const hello = { protocol: PROTOCOL_VERSION, name: `wire ${index}`, holding: null, backend: 'cpu', adapter: 'none' };
        socket.emit('hello', hello, (reply: Reply<Welcome>) => {
          if (reply.ok) authorization = `Bearer ${reply.value.minerId}.${reply.value.token}`;
        });
      });
    });
}

async function main(task: WireTask): Promise<void> {
  const { kind, sockets, wave } = task;
  const open = kind === 'echo' ? () => openEcho(task) : kind === 'watch' ? () => openSpectator(task) : await prepareMining(task);
  setInterval(() => {
    process.send!({ type: 'report', connected, answered, refused, waits } satisfies WireReport);
    [answered, refused, waits] = [0, 0, []];
  }, 1_000);
  for (let i = 0; i < sockets; i += wave) await Promise.all(Array.from({ length: Math.min(wave, sockets - i) }, (_, j) => open(i + j)));
}

process.on('disconnect', () => process.exit(0));
process.once('message', (task: WireTask) => void main(task));
