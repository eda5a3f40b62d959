/**
 * Many miners in one process that speak the whole protocol and compute nothing: whatever they are leased they answer at
 * once, with tensors made beforehand. Started by `wire.ts` as a process of its own, so that the server has a core to itself.
 */
import {
  type Assign,
  type Collect,
  encodeFrame,
  type Lease,
  type Merge,
  PROTOCOL_VERSION,
  type Reply,
  type RunSnapshot,
  sha256Hex,
  type Welcome,
} from '@starling/protocol';
import { io, type Socket } from 'socket.io-client';

export interface WireTask {
  url: string;
  miners: number;
  /** Connections opened at a time. */
  wave: number;
}

/** Sent once a second: receipts answered since the last one, how many of them well, and their waits in ms. */
export interface WireReport {
  type: 'report';
  connected: number;
  answered: number;
  refused: number;
  waits: number[];
}

const WAITS_SAMPLED = 5_000;

async function main({ url, miners, wave }: WireTask): Promise<void> {
  const run = (await (await fetch(`${url}/v1/run`)).json()) as RunSnapshot;
  const { model, sequences } = run.config;
  const activation = new Float32Array(sequences * model.context * model.width).fill(0.5);
  const frame = await encodeFrame(activation, [sequences, model.context, model.width]);
  const outputHash = await sha256Hex(activation);
  const last = run.config.stages.length - 1;
  const hashes = run.stages.map((stage) => stage.parameterHash);
  // A gradient of zeros is one blob for everybody, and changes nothing but by weight decay.
  const gradients = await Promise.all(
    run.stages.map(async ({ parameters }) => {
      const bytes = await encodeFrame(new Float32Array(parameters), [parameters]);
      return { bytes, name: await sha256Hex(bytes) };
    }),
  );
  let connected = 0;
  let answered = 0;
  let refused = 0;
  let waits: number[] = [];

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
    const sent = performance.now();
    socket.emit('receipt', receipt, (reply: Reply<unknown>) => {
      answered += 1;
      if (!reply.ok) refused += 1;
      if (waits.length < WAITS_SAMPLED) waits.push(performance.now() - sent);
    });
  };

  const open = (index: number) =>
    new Promise<void>((resolve) => {
      const socket = io(url, { transports: ['websocket'], forceNew: true });
      let authorization = '';
      socket.on('lease', (lease: Lease) => answer(socket, lease));
      socket.on('assign', ({ stage, round, version }: Assign) => {
        socket.emit('ready', { stage, round, version, parameterHash: hashes[stage] }, () => {
          connected += 1;
          resolve();
        });
      });
      socket.on('collect', async ({ stage, version, round, microbatches }: Collect) => {
        const { bytes, name } = gradients[stage]!;
        await fetch(`${url}/v1/blobs/${name}`, { method: 'PUT', body: bytes, headers: { authorization } });
        socket.emit('contribution', { stage, version, round, gradient: name, microbatches }, () => {});
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
  setInterval(() => {
    process.send!({ type: 'report', connected, answered, refused, waits } satisfies WireReport);
    [answered, refused, waits] = [0, 0, []];
  }, 1_000);
  for (let i = 0; i < miners; i += wave) await Promise.all(Array.from({ length: Math.min(wave, miners - i) }, (_, j) => open(i + j)));
}

process.on('disconnect', () => process.exit(0));
process.once('message', (task: WireTask) => void main(task));
