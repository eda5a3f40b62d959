/** The sockets: parses and checks what miners send, hands it to the run, and sends commands and the live feed. */
import type { Server as HttpServer } from 'node:http';
import { LIMITS } from '@starling/coordinator';
import {
  decodeFrame,
  type ErrorCode,
  type Frame,
  INLINE_LIMIT,
  isFiniteTensor,
  type MinerToServer,
  type Payload,
  parseRequest,
  type Replies,
  type Reply,
  type RequestName,
  type Requests,
  type ServerToMiner,
  type ServerToSpectator,
  SwarmError,
} from '@starling/protocol';
import { Server, type Socket } from 'socket.io';
import type { Blobs } from './blobs.ts';
import type { Identity } from './identity.ts';
import type { Run } from './run.ts';

/** Why a gradient that was uploaded cannot be summed. */
const USELESS: ReadonlySet<ErrorCode> = new Set(['FRAME_MALFORMED', 'FRAME_HASH_MISMATCH', 'TENSOR_SHAPE', 'TENSOR_NOT_FINITE']);
/** Computing it once more would give the same. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set(['TENSOR_NOT_FINITE', 'LOSS_IMPLAUSIBLE']);
/** Inline payloads plus the message around them; anything larger is a mistake, and engine.io closes the socket on it. */
const MAX_MESSAGE_BYTES = 4 * INLINE_LIMIT;
/** Spectators get at most four updates a second. */
const FEED_MS = 250;

type MinerSocket = Socket<MinerToServer, ServerToMiner>;

export class Gateway {
  private readonly io: Server<MinerToServer, ServerToMiner>;
  private readonly sockets = new Map<string, MinerSocket>();
  private readonly feed: NodeJS.Timeout;
  private readonly run: Run;
  private readonly blobs: Blobs;
  private readonly identity: Identity;

  constructor(http: HttpServer, run: Run, blobs: Blobs, identity: Identity) {
    this.run = run;
    this.blobs = blobs;
    this.identity = identity;
    this.io = new Server(http, { maxHttpBufferSize: MAX_MESSAGE_BYTES, perMessageDeflate: false, serveClient: false });
    this.io.on('connection', (socket) => this.accept(socket));
    // The event map cannot tie name and message together through a generic, hence the widened emit.
    run.connect((minerId, name, message) => (this.sockets.get(minerId) as Socket | undefined)?.emit(name, message));
    this.feed = this.serveSpectators();
  }

  close(): void {
    clearInterval(this.feed);
    // The engine, not a namespace: a page that only watches holds a connection too.
    this.io.engine.close();
  }

  // ── spectators ────────────────────────────────────────────────────────────────────────────────

  private serveSpectators(): NodeJS.Timeout {
    const watch = this.io.of('/watch') as unknown as ReturnType<Server<Record<string, never>, ServerToSpectator>['of']>;
    const { view } = this.run;
    let sequence = 0;
    let sent = { ...view.appended };
    watch.on('connection', (socket) => {
      socket.emit('snapshot', {
        sequence,
        run: view.snapshot(Date.now()),
        points: sentPart(view.points, 'points'),
        events: sentPart(view.events, 'events'),
      });
    });
    /** A snapshot holds what was sent to everybody so far; the next update brings the rest. */
    const sentPart = <T>(list: T[], kind: 'points' | 'events') => list.slice(0, list.length - (view.appended[kind] - sent[kind]));
    const newPart = <T>(list: T[], kind: 'points' | 'events') => list.slice(list.length - (view.appended[kind] - sent[kind]));
    let lastRun = '';
    return setInterval(() => {
      const run = view.snapshot(Date.now());
      const text = JSON.stringify(run);
      const points = newPart(view.points, 'points');
      const events = newPart(view.events, 'events');
      if (text === lastRun && points.length === 0 && events.length === 0) return;
      lastRun = text;
      sent = { ...view.appended };
      sequence += 1;
      watch.emit('update', { sequence, run, points, events });
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
          answer({ ok: false, error: fault.toWire() });
        }
      };
      (socket as unknown as Socket).on(name as string, listener);
    };

    on('hello', (hello) => {
      // A miner asks anew for its assignment on the same connection; it does not become another one.
      if (minerId !== null && hello.session?.minerId !== minerId)
        throw new SwarmError('BAD_MESSAGE', `This connection is miner ${minerId}'s; \`hello\` must bring its session.`);
      const welcome = this.hello(hello, socket);
      minerId = welcome.minerId;
      return welcome;
    });
    on('ready', (message) => this.settle({ type: 'ready', minerId: joined(), ...message }));
    on('receipt', (message) => this.receipt(joined(), message));
    on('contribution', (message) => this.contribution(joined(), message));
    on('applied', (message) => this.settle({ type: 'applied', minerId: joined(), ...message }));
    on('status', ({ activity, reason }) => {
      this.run.view.status(joined(), activity, reason);
      return null;
    });
    on('leave', () => {
      const leaver = joined();
      this.sockets.delete(leaver);
      this.blobs.forget(leaver);
      return this.settle({ type: 'leave', minerId: leaver });
    });
    socket.on('disconnect', () => {
      if (minerId === null || this.sockets.get(minerId) !== socket) return;
      this.sockets.delete(minerId);
      this.blobs.forget(minerId);
      this.run.handle({ type: 'disconnect', minerId });
    });
  }

  private hello({ session, name, backend, adapter, holding }: Requests['hello'], socket: MinerSocket): Replies['hello'] {
    const known = session !== undefined && this.identity.knows(session.minerId, session.token);
    const welcome = known ? session : this.identity.newMiner();
    const { minerId } = welcome;
    // The newer connection wins: the older one is a socket that has not noticed yet that it is dead.
    const older = this.sockets.get(minerId);
    this.sockets.set(minerId, socket);
    if (older && older !== socket) older.disconnect(true);
    this.run.view.joined(minerId, { name: name || minerId, backend, adapter });
    this.run.handle({ type: 'join', minerId, holding });
    return { ...welcome, run: this.run.view.config };
  }

  /** Hands an input over and turns a refusal into an error reply. */
  private settle(input: Parameters<Run['handle']>[0]): null {
    const refusal = this.run.handle(input);
    if (refusal) throw refusal;
    return null;
  }

  private async frame(minerId: string, payload: Payload): Promise<{ bytes: Uint8Array; frame: Frame }> {
    const bytes = payload instanceof Uint8Array ? payload : this.blobs.claim(minerId, payload.blob);
    return { bytes, frame: await decodeFrame(bytes) };
  }

  private async receipt(minerId: string, receipt: Requests['receipt']): Promise<null> {
    const { run } = this;
    const { leaseId, outputHash, lossSum, computeMs } = receipt;
    const lease = run.coordinator.leaseOf(leaseId);
    const settled = { type: 'receipt', minerId, leaseId, outputHash, lossSum, computeMs } as const;
    // Not this miner's to settle (any more): the coordinator says why.
    if (!lease || lease.minerId !== minerId || lease.state === 'accepted') return this.settle(settled);
    const { kind, stage, version, flow } = lease;
    const { purpose, microbatch } = flow;
    const input = run.activations.get(stage, version, purpose, microbatch, 'input');
    if (!input) return this.settle(settled);
    if (receipt.inputHash !== input.hash) {
      throw new SwarmError(
        'RECEIPT_INPUT',
        `Lease ${leaseId} carried input ${input.hash.slice(0, 12)}…, not ${receipt.inputHash.slice(0, 12)}….`,
      );
    }
    const last = stage === run.view.config.stages.length - 1;
    const neighbour = kind === 'backward' ? stage - 1 : stage + 1;
    const wantsOutput = kind === 'backward' ? stage > 0 : !last;
    try {
      if (last) this.checkLoss(leaseId, lossSum);
      const output = wantsOutput ? await this.output(minerId, receipt) : null;
      this.settle(settled);
      if (output && run.coordinator.versionOf(neighbour) <= version) {
        run.activations.put(neighbour, version, purpose, microbatch, kind === 'backward' ? 'outputGradient' : 'input', output);
      }
      if (kind === 'backward') run.view.worked(minerId, run.tokensPerMicrobatch, Date.now());
    } catch (error) {
      // A result that is no number will be none the next time either: another miner gets the lease now.
      if (!(error instanceof SwarmError) || !HOPELESS.has(error.code)) throw error;
      run.handle({ type: 'forfeit', minerId, leaseId, code: error.code, message: error.message });
      throw error;
    }
    return null;
  }

  private checkLoss(leaseId: string, lossSum: number | null): void {
    const tokens = this.run.tokensPerMicrobatch;
    if (lossSum !== null && lossSum >= 0 && lossSum <= tokens * LIMITS.maximumTokenLoss) return;
    throw new SwarmError('LOSS_IMPLAUSIBLE', `Lease ${leaseId} reports a loss of ${lossSum} nats over ${tokens} tokens.`);
  }

  private async output(minerId: string, { output, outputHash, leaseId }: Requests['receipt']) {
    if (output === null) throw new SwarmError('TENSOR_SHAPE', `Lease ${leaseId} must bring a tensor.`);
    const { bytes, frame } = await this.frame(minerId, output);
    const expected = this.run.boundaryShape;
    if (!(frame.data instanceof Float32Array) || frame.shape.join() !== expected.join()) {
      throw new SwarmError('TENSOR_SHAPE', `Lease ${leaseId} brings [${frame.shape}] ${frame.dtype} instead of [${expected}] float32.`);
    }
    if (frame.hash !== outputHash)
      throw new SwarmError('FRAME_HASH_MISMATCH', `The receipt of lease ${leaseId} names another output hash than its tensor has.`);
    if (!isFiniteTensor(frame.data)) throw new SwarmError('TENSOR_NOT_FINITE', `The output of lease ${leaseId} holds NaN or infinity.`);
    return this.run.activations.prepare(bytes, frame.hash);
  }

  private async contribution(minerId: string, { stage, version, gradient, microbatches }: Requests['contribution']): Promise<null> {
    const settled = { type: 'contribution', minerId, stage, version, microbatches, gradient } as const;
    if (!this.run.coordinator.collectsFrom(minerId, stage, version)) return this.settle(settled);
    try {
      const sum = await this.run.readGradient(stage, this.blobs.claim(minerId, gradient));
      this.settle(settled);
      this.run.addGradient(stage, version, microbatches, sum);
      return null;
    } catch (error) {
      const fault = SwarmError.from(error);
      if (!USELESS.has(fault.code)) throw fault; // not uploaded yet, or not awaited any more
      return this.settle({ type: 'spoiled', minerId, stage, version, code: fault.code, message: fault.message });
    }
  }
}
