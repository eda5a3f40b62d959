/** The sockets: parses and checks what miners send, hands it to the run, and sends commands and the live feed. */
import type { Server as HttpServer } from 'node:http';
import { assertFromDevice } from '@starling/chain/identity';
import { type Effect, type Input, LIMITS } from '@starling/coordinator';
import {
  broughtBy,
  decodeFrame,
  type ErrorCode,
  INLINE_LIMIT,
  isFiniteTensor,
  type MinerToServer,
  parseRequest,
  type Replies,
  type Reply,
  type RequestName,
  type Requests,
  receiptMessage,
  type ServerToMiner,
  type ServerToSpectator,
  SwarmError,
  type WatchAuth,
  type Welcome,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { type Namespace, Server, type Socket } from 'socket.io';
import type { StoredTensor } from './activations.ts';
import type { Addresses, Handshake } from './addresses.ts';
import { gradientOwner } from './blob-owners.ts';
import type { Blobs } from './blobs.ts';
import { Feed } from './feed.ts';
import type { Identity } from './identity.ts';
import type { Refusals } from './refusals.ts';
import type { Run, WithTensor } from './run.ts';

/** Why a gradient that was uploaded cannot be summed. */
const USELESS: ReadonlySet<ErrorCode> = new Set(['SHARD_MALFORMED', 'BLOB_TOO_LARGE', 'TENSOR_NOT_FINITE']);
/** Computing it once more would give the same. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set(['TENSOR_NOT_FINITE', 'LOSS_IMPLAUSIBLE']);
/** Inline payloads plus the message around them; anything larger is a mistake, and engine.io closes the socket on it. */
const MAX_MESSAGE_BYTES = 4 * INLINE_LIMIT;
/** Spectators get at most four updates a second, and fewer where they are many: telling them takes at most this share of the server's time. */
const FEED_MS = 250;
const FEED_SHARE = 0.02;

type MinerSocket = Socket<MinerToServer, ServerToMiner>;

export interface GatewayParts {
  run: Run;
  blobs: Blobs;
  identity: Identity;
  /** What it calls itself, and is signed for as. */
  serverName: string;
  refusals: Refusals;
  /** Miners of the run at once, at most. */
  maxMiners: number;
  addresses: Addresses;
}

export class Gateway {
  private readonly io: Server<MinerToServer, ServerToMiner>;
  private readonly sockets = new Map<string, MinerSocket>();
  /** Of miners whose socket closed without a word, that socket's id: the last word may come after it, on another way. */
  private readonly closed = new Map<string, string>();
  private readonly feed: NodeJS.Timeout;
  private readonly run: Run;
  private readonly blobs: Blobs;
  private readonly identity: Identity;
  private readonly serverName: string;
  private readonly refusals: Refusals;
  private readonly maxMiners: number;
  private readonly addresses: Addresses;

  constructor(http: HttpServer, { run, blobs, identity, serverName, refusals, maxMiners, addresses }: GatewayParts) {
    this.run = run;
    this.blobs = blobs;
    this.identity = identity;
    this.serverName = serverName;
    this.refusals = refusals;
    this.maxMiners = maxMiners;
    this.addresses = addresses;
    this.io = new Server(http, { maxHttpBufferSize: MAX_MESSAGE_BYTES, perMessageDeflate: false, serveClient: false, parser: packets });
    this.io.on('connection', (socket) => this.accept(socket));
    // The event map cannot tie name and message together through a generic, hence the widened emit.
    run.connect({
      send: (minerId, name, message) => (this.sockets.get(minerId) as Socket | undefined)?.emit(name, message),
      dismiss: (minerId) => this.sockets.get(minerId)?.disconnect(true),
    });
    this.feed = this.serveSpectators();
  }

  /** For who is neither miner nor spectator. */
  namespace(name: string): Namespace {
    return this.io.of(name) as unknown as Namespace;
  }

  close(): void {
    clearInterval(this.feed);
    // The engine, not a namespace: a page that only watches holds a connection too.
    this.io.engine.close();
  }

  // ── spectators ────────────────────────────────────────────────────────────────────────────────

  private serveSpectators(): NodeJS.Timeout {
    const watch = this.io.of('/watch') as unknown as ReturnType<Server<Record<string, never>, ServerToSpectator>['of']>;
    const feed = new Feed(this.run.view, Date.now());
    watch.on('connection', (socket) => {
      // Nobody has looked for a while, and so nothing was prepared: this is where the next update goes on from.
      if (watch.sockets.size === 1) feed.next(Date.now());
      const missed = feed.since(socket.handshake.auth as Partial<WatchAuth>);
      if (missed) for (const update of missed) socket.emit('update', update);
      else socket.emit('snapshot', feed.snapshot());
    });
    let due = 0;
    return setInterval(() => {
      const started = performance.now();
      if (watch.sockets.size === 0 || started < due) return;
      const update = feed.next(Date.now());
      if (!update) return;
      watch.emit('update', update);
      due = started + (performance.now() - started) / FEED_SHARE;
    }, FEED_MS);
  }

  // ── miners ────────────────────────────────────────────────────────────────────────────────────

  private accept(socket: MinerSocket): void {
    let minerId: string | null = null;
    const joined = () => {
      if (minerId === null || this.sockets.get(minerId) !== socket)
        throw new SwarmError('NOT_JOINED', 'This connection has not said hello.');
      return minerId;
    };
    const on = <K extends RequestName>(name: K, handle: (message: Requests[K]) => Promise<Replies[K]> | Replies[K]) => {
      const listener = async (message: unknown, reply: unknown) => {
        const answer = (value: Reply<Replies[K]>) => typeof reply === 'function' && reply(value);
        try {
          answer({ ok: true, value: await handle(parseRequest(name, message)) });
        } catch (error) {
          const fault = SwarmError.from(error);
          if (fault.code === 'INTERNAL') this.run.report('error', 'INTERNAL', `${name}: ${fault.message}`);
          else if (minerId !== null) await this.refusals.record(minerId, fault, leaseIn(message));
          answer({ ok: false, error: fault.toWire() });
        }
      };
      (socket as unknown as Socket).on(name as string, listener);
    };

    on('hello', async (hello) => {
      // A miner asks anew for its assignment on the same connection; it does not become another one.
      if (minerId !== null && hello.session?.minerId !== minerId)
        throw new SwarmError('BAD_MESSAGE', `This connection is miner ${minerId}'s; \`hello\` must bring its session.`);
      const session = this.admit(hello, socket.handshake);
      minerId = session.minerId;
      return this.hello(session, hello, socket);
    });
    on('ready', (message) => this.settle({ type: 'ready', minerId: joined(), ...message }));
    on('receipt', (message) => this.receipt(joined(), message));
    on('contribution', (message) => this.contribution(joined(), message));
    on('reduced', (message) => this.reduced(joined(), message));
    on('busy', (message) => this.busy(joined(), message));
    on('applied', (message) => this.settle({ type: 'applied', minerId: joined(), ...message }));
    on('status', ({ activity, reason }) => {
      this.run.view.status(joined(), activity, reason);
      return null;
    });
    on('leave', () => this.leave(joined()));
    socket.on('disconnect', () => {
      if (minerId === null || this.sockets.get(minerId) !== socket) return;
      this.forget(minerId);
      this.rememberClosed(minerId, socket.id);
      void this.run.submit({ type: 'disconnect', minerId }).catch(() => {});
    });
  }

  private leave(minerId: string): Promise<null> {
    this.forget(minerId);
    this.blobs.forget(minerId);
    return this.settle({ type: 'leave', minerId });
  }

  /** The last word of a page that is being closed. It may come after the hello of the page that was loaded anew. */
  async leaveBy(minerId: string, socketId: string): Promise<void> {
    const last = this.sockets.get(minerId)?.id ?? this.closed.get(minerId);
    if (last === socketId) await this.leave(minerId);
  }

  private rememberClosed(minerId: string, socketId: string): void {
    this.closed.set(minerId, socketId);
    if (this.closed.size <= 2 * this.maxMiners) return;
    for (const id of this.closed.keys()) if (!this.run.coordinator.miner(id)) this.closed.delete(id);
  }

  private forget(minerId: string): void {
    this.sockets.delete(minerId);
    this.closed.delete(minerId);
  }

  /** Throws `BUSY` when a newcomer cannot be taken. Whoever is part of the run is always let in. */
  private admit({ session, device }: Requests['hello'], handshake: Handshake): { minerId: string; token: string } {
    const known = session !== undefined && this.identity.knows(session.minerId, session.token) && this.isDeviceOf(session.minerId, device);
    if (known && this.run.coordinator.miner(session.minerId)) return session;
    if (this.run.view.trouble) throw new SwarmError('BUSY', `${this.run.view.trouble.message} Newcomers wait until it is over.`);
    if (this.run.coordinator.minerCount >= this.maxMiners)
      throw new SwarmError('BUSY', `The run has as many miners as this server takes: ${this.maxMiners}.`);
    const admitted = known ? session : this.identity.newMiner();
    this.addresses.admit(handshake, admitted.minerId);
    return admitted;
  }

  /** Who comes back with another key, with its first, or without it, is somebody else: credit, and what audits found, stay with the key. */
  private isDeviceOf(minerId: string, device: string | undefined): boolean {
    const { coordinator } = this.run;
    const facts = coordinator.miner(minerId)?.facts ?? coordinator.credit(minerId)?.facts;
    return facts === undefined || facts.device === device;
  }

  private async hello(
    session: { minerId: string; token: string },
    { name, backend, adapter, device, holding }: Requests['hello'],
    socket: MinerSocket,
  ): Promise<Welcome> {
    const { minerId } = session;
    const facts = { name: name || minerId, backend, adapter, ...(device && { device }) };
    // The newer connection wins: the older one is a socket that has not noticed yet that it is dead.
    const older = this.sockets.get(minerId);
    this.sockets.set(minerId, socket);
    this.closed.delete(minerId);
    if (older && older !== socket) older.disconnect(true);
    this.run.view.joined(minerId, facts);
    await this.run.submit({ type: 'join', minerId, facts, holding });
    return { ...session, server: this.serverName, run: this.run.view.config };
  }

  /** It is answered after all that the miner was given before: who is about to leave gives that back, too. */
  private async busy(minerId: string, message: Requests['busy']): Promise<null> {
    await this.settle({ type: 'busy', minerId, ...message });
    await this.run.told(minerId);
    return null;
  }

  /** Hands an input over; resolves when it is durable, and throws the refusal. */
  private async settle(input: Input): Promise<null> {
    await this.run.submit(input);
    return null;
  }

  private async receipt(minerId: string, receipt: Requests['receipt']): Promise<Replies['receipt']> {
    const { run } = this;
    const { leaseId, outputHash, lossSum, computeMs } = receipt;
    await this.checkSignature(minerId, receipt);
    const lease = run.coordinator.leaseOf(leaseId);
    const settled: Input = { type: 'receipt', minerId, leaseId, outputHash, lossSum, computeMs };
    // Not this miner's to settle (any more), or of a step that is over: the coordinator says what becomes of it.
    if (!lease || lease.minerId !== minerId || lease.state === 'counted' || lease.state === 'surplus') return this.count(settled);
    const { kind, stage, version, flow } = lease;
    const of = { stage, version, purpose: flow.purpose, microbatch: flow.microbatch };
    const input = run.activations.get({ ...of, slot: 'input' });
    if (!input) return this.count(settled);
    if (receipt.inputHash !== input.hash) {
      throw new SwarmError(
        'RECEIPT_INPUT',
        `Lease ${leaseId} carried input ${input.hash.slice(0, 12)}…, not ${receipt.inputHash.slice(0, 12)}….`,
      );
    }
    const spec = run.view.config.stages[stage]!;
    const last = spec.isLast;
    const neighbour = kind === 'backward' ? stage - 1 : stage + 1;
    const brings = broughtBy(kind, spec);
    try {
      checkForm(receipt, brings);
      if (last) this.checkLoss(leaseId, lossSum);
      const output = brings.output ? await this.output(minerId, receipt) : null;
      const key = { ...of, stage: neighbour, slot: kind === 'backward' ? 'outputGradient' : 'input' } as const;
      const tensor = (slot: 'outputGradient' | 'targets' | 'tokens') => run.activations.get({ ...of, slot }) ?? null;
      const upstream = last ? tensor('targets') : kind === 'backward' ? tensor('outputGradient') : null;
      const seen = { input, output, upstream, tokens: tensor('tokens') };
      return await this.count(settled, (effects) => {
        if (isCounted(effects)) run.witness(lease, { inputHash: input.hash, outputHash, lossSum }, seen);
        if (!output || !isCounted(effects) || run.coordinator.versionOf(neighbour) > version) return null;
        return { key, tensor: output };
      });
    } catch (error) {
      // A result that is no number will be none the next time either: another miner gets the lease now.
      if (!(error instanceof SwarmError) || !HOPELESS.has(error.code)) throw error;
      await run.submit({ type: 'forfeit', minerId, leaseId, code: error.code, message: error.message });
      throw error;
    } finally {
      if (receipt.output && 'blob' in receipt.output) this.blobs.dropUpload(minerId, receipt.output.blob);
    }
  }

  private async count(receipt: Input, withTensor?: WithTensor): Promise<Replies['receipt']> {
    return { counted: isCounted(await this.run.submit(receipt, withTensor)) };
  }

  /** Nobody else's work is credited to a device, and nobody's without its word. */
  private async checkSignature(minerId: string, { signature, ...receipt }: Requests['receipt']): Promise<void> {
    const device = this.run.coordinator.miner(minerId)?.facts.device;
    if (device) await assertFromDevice(device, await receiptMessage(this.serverName, receipt), signature ?? '');
  }

  private checkLoss(leaseId: string, lossSum: number | null): void {
    const tokens = this.run.tokensPerMicrobatch;
    if (lossSum !== null && lossSum >= 0 && lossSum <= tokens * LIMITS.maximumTokenLoss) return;
    throw new SwarmError('LOSS_IMPLAUSIBLE', `Lease ${leaseId} reports a loss of ${lossSum} nats over ${tokens} tokens.`);
  }

  private async output(minerId: string, { output, outputHash, leaseId }: Requests['receipt']): Promise<StoredTensor> {
    if (output === null) throw new SwarmError('TENSOR_SHAPE', `Lease ${leaseId} must bring a tensor.`);
    const bytes = output instanceof Uint8Array ? output : this.blobs.uploaded(minerId, output.blob);
    if (output instanceof Uint8Array) this.run.view.carried(output.byteLength);
    const frame = await decodeFrame(bytes);
    const { crossing } = this.run;
    if (frame.dtype !== crossing.dtype || frame.shape.join() !== crossing.shape.join()) {
      const wanted = `[${crossing.shape}] ${crossing.dtype}`;
      throw new SwarmError('TENSOR_SHAPE', `Lease ${leaseId} brings [${frame.shape}] ${frame.dtype} instead of ${wanted}.`);
    }
    if (frame.hash !== outputHash)
      throw new SwarmError('FRAME_HASH_MISMATCH', `The receipt of lease ${leaseId} names another output hash than its tensor has.`);
    // A codec's bytes are refused by itself when they say NaN or infinity.
    if (!isFiniteTensor(crossing.unpack(frame.data), crossing.most)) {
      const { boundary } = this.run.view.config;
      throw new SwarmError(
        'TENSOR_NOT_FINITE',
        `The output of lease ${leaseId} holds NaN, infinity, or a number beyond ±${crossing.most}, the most that is relayed as ${boundary}.`,
      );
    }
    // A copy: what came from a socket is a view of a larger piece of memory, which would live as long.
    const own = new Uint8Array(bytes);
    return { payload: output instanceof Uint8Array ? own : output, frame: own, hash: frame.hash };
  }

  private async contribution(minerId: string, { shards, ...message }: Requests['contribution']): Promise<null> {
    const { run, blobs } = this;
    const { stage, version, round } = message;
    const settled = (squares: number[]): Promise<null> =>
      this.settle({ type: 'contribution', minerId, ...message, hashes: shards, squares });
    if (!run.coordinator.collectsFrom(minerId, stage, version, round)) return settled([]);
    try {
      const uploads = shards.map((hash) => blobs.uploaded(minerId, hash));
      const squares = run.inspectGradient(stage, uploads);
      for (const hash of new Set(shards)) this.adopt(minerId, hash, stage, version);
      return await settled(squares);
    } catch (error) {
      const fault = SwarmError.from(error);
      if (!USELESS.has(fault.code)) throw fault; // not uploaded yet, or not awaited any more
      for (const hash of shards) blobs.dropUpload(minerId, hash);
      return this.settle({ type: 'spoiled', minerId, stage, version, round, code: fault.code, message: fault.message });
    }
  }

  private adopt(minerId: string, hash: string, stage: number, version: number): void {
    this.blobs.adopt(minerId, hash, gradientOwner(stage, version));
    this.run.view.merging(stage, 'uploaded', this.blobs.get(hash).byteLength);
  }

  private async reduced(minerId: string, message: Requests['reduced']): Promise<null> {
    const { run, blobs } = this;
    const { stage, version, shard, hash } = message;
    if (run.coordinator.reducesFor({ minerId, ...message })) {
      const bytes = blobs.uploaded(minerId, hash);
      try {
        run.inspectResult(stage, shard, bytes);
      } catch (error) {
        blobs.dropUpload(minerId, hash);
        throw error;
      }
      this.adopt(minerId, hash, stage, version);
    } else {
      blobs.dropUpload(minerId, hash);
    }
    return this.settle({ type: 'result', minerId, ...message });
  }
}

/** What nobody asked for is signed, too, and no audit could hold it against anything. */
function checkForm({ leaseId, output, outputHash, lossSum }: Requests['receipt'], brings: ReturnType<typeof broughtBy>): void {
  if (!brings.output && (output !== null || outputHash !== null))
    throw new SwarmError('TENSOR_SHAPE', `Lease ${leaseId} has no output; its receipt must bring neither a tensor nor the hash of one.`);
  if (!brings.loss && lossSum !== null)
    throw new SwarmError('TENSOR_SHAPE', `Lease ${leaseId} has no loss; its receipt reports one of ${lossSum} nats.`);
}

const isCounted = (effects: readonly Effect[]) => effects.some((effect) => effect.type === 'settled' && effect.outcome === 'counted');

/** The lease that a message of whatever form is about, if it says so. */
function leaseIn(message: unknown): string | null {
  const id = (message as { leaseId?: unknown } | null)?.leaseId;
  return typeof id === 'string' && id.length <= 64 ? id : null;
}
