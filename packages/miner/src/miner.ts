/**
 * The miner's runtime: one stage, one queue. Commands that need the device are worked off one after the other; receipts
 * are on the wire meanwhile. An assignment starts a new *term*: whatever an older term still does is void.
 */
import type { Kernels } from '@starling/kernels';
import { layoutOf } from '@starling/model';
import {
  type Activity,
  type Assign,
  type Backend,
  type Collect,
  type CommandName,
  type Commands,
  decodeFrame,
  encodeFrame,
  explain,
  INLINE_LIMIT,
  type Lease,
  type Merge,
  type Payload,
  PROTOCOL_VERSION,
  Rate,
  type RunConfig,
  SwarmError,
  sha256Hex,
  type TensorData,
  type Waiting,
  type Welcome,
} from '@starling/protocol';
import { BlobClient } from './blob-client.ts';
import { Connection } from './connection.ts';
import { HeldStage, readVector } from './held-stage.ts';
import type { MinerState, Phase } from './state.ts';

export interface MinerOptions {
  url: string;
  name: string;
  /** `auto`: WebGPU, else wasm, and the state says why. */
  backend: 'auto' | 'webgpu' | 'wasm';
}

export interface MinerPorts {
  /** Builds the compute backend; throws SwarmError WEBGPU_UNAVAILABLE or BACKEND_FAILED. */
  createKernels(backend: 'webgpu' | 'wasm'): Promise<Kernels>;
  /** Remembers the session over reloads. */
  storage: { get(key: string): Promise<string | null>; set(key: string, value: string): Promise<void> };
}

interface Term {
  /** Of the assignment: an older one that comes late is void. */
  round: number;
  abort: AbortController;
  held: HeldStage | null;
  /** Leases that came, ever: one that is granted again over a reconnect is not computed twice. */
  seen: Set<string>;
  /** Leases that are not begun. */
  waiting: Set<string>;
  /** Leases that went elsewhere before they were begun. */
  cancelled: Set<string>;
  /** Receipts on the wire: a gradient is complete when they are answered. */
  unanswered: Set<Promise<void>>;
  /** The last gradient handed in, in case the server asks again. */
  handedIn: { round: number; microbatches: number[]; frame: Uint8Array<ArrayBuffer> } | null;
}

const REFUSALS_SHOWN = 20;
/** Progress is told to the server at most this often; it only feeds pages. */
const STATUS_MS = 250;
const PHASE_OF: Record<Activity, Phase> = {
  connecting: 'wait',
  downloading: 'wire',
  'warming-up': 'compute',
  forward: 'compute',
  backward: 'compute',
  evaluate: 'compute',
  uploading: 'merge',
  applying: 'merge',
  waiting: 'wait',
  stopped: 'wait',
};
const LONGEST_REBUILD_PAUSE_MS = 60_000;
/** A server that is full is asked again after about so long. */
const FULL_PAUSE_MS = 15_000;
const IDLE: Waiting = { ...explain({ code: 'IDLE', message: 'Waiting for the next lease.' }), since: 0, until: null };

export class Miner {
  readonly options: MinerOptions;
  private readonly ports: MinerPorts;
  private readonly blobs: BlobClient;
  private meter: { phase: Phase; since: number } = { phase: 'wait', since: performance.now() };
  private readonly listeners = new Set<(state: MinerState) => void>();
  private readonly rate = new Rate();
  private connection: Connection | null = null;
  private kernels: Kernels | null = null;
  private session: { minerId: string; token: string } | undefined;
  private run: RunConfig | null = null;
  private term: Term = newTerm(0);
  /** An assignment that came while the device was being rebuilt. */
  private postponed: Assign | null = null;
  private queue: Promise<void> = Promise.resolve();
  private queued = 0;
  private waiting: Waiting = IDLE;
  private rebuilds = 0;
  private statusTimer: ReturnType<typeof setTimeout> | null = null;
  private stopped = false;
  private current: MinerState;

  constructor(options: MinerOptions, ports: MinerPorts) {
    this.options = options;
    this.ports = ports;
    this.blobs = new BlobClient(options.url, (error) => this.update({ error: error.toWire() }));
    this.current = initialState(options.name);
  }

  get state(): MinerState {
    return this.current;
  }

  onState(listener: (state: MinerState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Builds the backend and connects. Throws what makes mining impossible here; the state then shows it too. */
  async start(): Promise<void> {
    try {
      await this.buildKernels();
      const saved = await this.ports.storage.get(this.sessionKey);
      this.session = saved ? JSON.parse(saved) : undefined;
    } catch (error) {
      const fault = SwarmError.from(error, 'BACKEND_FAILED');
      this.update({ activity: 'stopped', reason: fault.message, error: fault.toWire() });
      throw fault;
    }
    if (this.stopped) return;
    this.connection = new Connection(this.options.url, {
      hello: () => ({
        protocol: PROTOCOL_VERSION,
        name: this.options.name || undefined,
        session: this.session,
        holding: this.term.held ? { stage: this.term.held.spec.index, version: this.term.held.version } : null,
        backend: this.current.backend!,
        adapter: this.current.adapter!.slice(0, 200),
      }),
      welcome: (welcome) => this.welcome(welcome),
      command: (name, message) => this.command(name, message),
      refused: (error) => this.refusedEntry(error),
      lost: (reason) => {
        const error = new SwarmError('CONNECTION_LOST', `No connection (${reason}); trying again.`);
        this.update({ activity: 'connecting', reason: error.message, error: error.toWire() });
      },
    });
  }

  /**
   * Nothing for so long (0: again something), and what is not begun goes to others at once. For a page that is about to be
   * frozen, say. Nobody is blamed for it.
   */
  rest(pauseMs: number): void {
    const { term } = this;
    const leases = [...term.waiting];
    for (const leaseId of leases) {
      term.waiting.delete(leaseId);
      term.cancelled.add(leaseId);
    }
    for (const leaseId of leases.length > 0 ? leases : [null]) {
      this.connection?.request('busy', { leaseId, pauseMs }).catch(() => {}); // it went elsewhere already
    }
  }

  /** Gives back what it holds and frees the device. */
  async stop(reason: string): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    this.newTerm(this.term.round);
    await this.connection?.leave(reason);
    this.kernels?.close();
    if (this.statusTimer) clearTimeout(this.statusTimer);
    this.update({ activity: 'stopped', reason, error: null });
  }

  // ── session ───────────────────────────────────────────────────────────────────────────────────

  private get sessionKey(): string {
    return `session ${this.options.url}`;
  }

  private welcome({ minerId, token, run }: Welcome): void {
    this.session = { minerId, token };
    this.run = run;
    this.blobs.authorization = `Bearer ${minerId}.${token}`;
    void this.ports.storage.set(this.sessionKey, JSON.stringify(this.session)).catch(() => {}); // only a reload would miss it
    const { socketId } = this.connection!;
    this.update({ minerId, stages: run.stages.length, error: null, session: { minerId, token, socketId } });
    this.idle();
  }

  private refusedEntry(error: SwarmError): void {
    if (error.code === 'BUSY') {
      const pause = FULL_PAUSE_MS * (0.7 + 0.6 * Math.random());
      const { message } = error;
      const since = this.current.waiting?.code === 'FULL' ? this.current.waiting.since : Date.now();
      const waiting = { ...explain({ code: 'FULL', message }), since, until: Date.now() + pause };
      this.update({ activity: 'connecting', reason: message, waiting, error: error.toWire() });
      setTimeout(() => this.connection?.join(), pause);
      return;
    }
    this.update({ activity: 'stopped', reason: error.message, error: error.toWire() });
    void this.stop(error.message).then(() => this.update({ error: error.toWire() }));
  }

  /** Drops the stage and asks for an assignment as a newcomer would. */
  private resynchronise(): void {
    this.newTerm(this.term.round);
    this.connection?.join();
  }

  private newTerm(round: number): Term {
    this.term.abort.abort(new SwarmError('CONNECTION_LOST', 'Replaced by a newer assignment.'));
    this.term.held?.dispose();
    this.term = newTerm(round);
    return this.term;
  }

  // ── backend ───────────────────────────────────────────────────────────────────────────────────

  private async buildKernels(): Promise<void> {
    const { backend } = this.options;
    let fallback: SwarmError | null = null;
    let kernels: Kernels | null = null;
    if (backend !== 'wasm') {
      try {
        kernels = await this.ports.createKernels('webgpu');
      } catch (error) {
        fallback = SwarmError.from(error, 'BACKEND_FAILED');
        if (backend === 'webgpu') throw fallback;
      }
    }
    kernels ??= await this.ports.createKernels('wasm');
    this.kernels = kernels;
    const made: Backend = kernels.backend;
    this.update({ backend: made, adapter: kernels.adapter, fallback: fallback?.toWire() ?? null });
    void kernels.lost.then((error) => {
      if (this.kernels === kernels && !this.stopped) void this.rebuild(error);
    });
  }

  /**
   * The device is gone or computes no more: what it held goes to others at once, and it is built anew, after a pause that
   * is longer each time.
   */
  private async rebuild(error: SwarmError): Promise<void> {
    const pause = this.rebuilds === 0 ? 0 : Math.min(LONGEST_REBUILD_PAUSE_MS, 1_000 * 2 ** this.rebuilds);
    this.rebuilds += 1;
    const old = this.kernels;
    this.kernels = null;
    this.term.held = null; // its tensors went with the device
    this.newTerm(this.term.round);
    old?.close();
    this.connection?.join();
    this.update({ activity: 'connecting', reason: `${error.message} Rebuilding the device.`, error: error.toWire() });
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (this.stopped) return;
    try {
      await this.buildKernels();
      const { postponed } = this;
      this.postponed = null;
      if (postponed) this.command('assign', postponed);
    } catch (failure) {
      void this.rebuild(SwarmError.from(failure, 'BACKEND_FAILED'));
    }
  }

  // ── commands ──────────────────────────────────────────────────────────────────────────────────

  private command<K extends CommandName>(name: K, message: Commands[K]): void {
    switch (name) {
      case 'assign': {
        const assign = message as Assign;
        if (assign.round <= this.term.round) break;
        if (!this.kernels) {
          this.postponed = assign;
          break;
        }
        const term = this.newTerm(assign.round);
        this.enqueue(term, () => this.hold(term, assign));
        break;
      }
      case 'lease': {
        const lease = message as Lease;
        if (this.term.seen.has(lease.id)) break;
        this.term.seen.add(lease.id);
        this.term.waiting.add(lease.id);
        this.enqueue(this.term, (term) => this.work(term, lease));
        break;
      }
      case 'collect':
        this.enqueue(this.term, (term) => this.handIn(term, message as Collect));
        break;
      case 'merge':
        this.enqueue(this.term, (term) => this.applyMerge(term, message as Merge));
        break;
      case 'cancel': // one that is begun is not worth interrupting: its receipt is credited
        this.term.cancelled.add((message as Commands['cancel']).leaseId);
        break;
      case 'wait':
        this.waiting = message as Commands['wait'];
        if (this.queued === 0) this.idle();
        break;
    }
  }

  private enqueue(term: Term, task: (term: Term) => Promise<void>): void {
    this.queued += 1;
    this.queue = this.queue
      .then(() => (term === this.term ? task(term) : undefined))
      .catch((error: unknown) => this.failed(term, error))
      .then(() => {
        this.queued -= 1;
        if (this.queued === 0) this.idle();
      });
  }

  private failed(term: Term, error: unknown): void {
    if (term !== this.term || this.stopped) return; // replaced meanwhile: nothing of it counts
    const fault = SwarmError.from(error, 'BACKEND_FAILED');
    this.refused(fault);
    if (fault.code === 'BACKEND_FAILED') void this.rebuild(fault);
    else this.resynchronise();
  }

  private async hold(term: Term, { stage, round, version, state }: Assign): Promise<void> {
    if (!this.kernels) return; // being rebuilt: it has asked to be assigned anew
    const spec = this.run!.stages[stage]!;
    const size = layoutOf(this.run!.model, spec).size;
    this.update({
      stage,
      version: null,
      parameterHash: null,
      layers: [spec.firstLayer, spec.firstLayer + spec.layers - 1],
      parameters: size,
    });
    this.act('downloading', `Fetching stage ${stage}: ${((size * 12) / 1e6).toFixed(1)} MB.`);
    const vector = async (hash: string) => readVector(await this.blobs.get(hash, term.abort.signal), size);
    const [parameters, firstMoment, secondMoment] = await Promise.all([
      vector(state.parameters),
      vector(state.firstMoment),
      vector(state.secondMoment),
    ]);
    if (term !== this.term) return;
    this.act('warming-up', 'Compiling the kernels of this stage.');
    const held = await HeldStage.load(this.kernels, this.run!, spec, version, { parameters, firstMoment, secondMoment });
    term.held = held;
    await held.warmUp();
    if (term !== this.term) return;
    this.update({ version, parameterHash: held.parameterHash, error: null });
    this.send(term, this.connection!.request('ready', { stage, round, version, parameterHash: held.parameterHash }));
  }

  private async work(term: Term, lease: Lease): Promise<void> {
    const { held } = term;
    term.waiting.delete(lease.id);
    if (!held || lease.stage !== held.spec.index || lease.version !== held.version) return; // its receipt could not count
    const kept = lease.kind === 'backward' ? held.takeInput(lease.microbatch) : undefined;
    if (term.cancelled.has(lease.id)) return;
    this.act(lease.kind, null);
    const started = performance.now();
    const input = lease.input ? await this.read(term, lease.input) : kept;
    if (!input) throw new SwarmError('BLOB_NOT_FOUND', `The input of microbatch ${lease.microbatch} is not here any more.`);
    const targets = lease.targets ? await this.read(term, lease.targets) : null;
    let output: Float32Array<ArrayBuffer> | null = null;
    let lossSum: number | null = null;
    let settle: (counted: boolean) => void = () => {};
    if (lease.kind === 'backward') {
      const result = await held.backward(input, targets ?? (await this.read(term, lease.outputGradient!)));
      ({ inputGradient: output, lossSum } = result);
      settle = (counted) => (counted ? held.accept(lease.round, lease.microbatch, result.gradient) : held.discard(result.gradient));
    } else if (held.spec.isLast) {
      lossSum = await held.loss(input, targets as Int32Array<ArrayBuffer>);
    } else {
      output = await held.forward(input);
      if (lease.kind === 'forward') {
        held.keep(lease.id, lease.microbatch, input);
        settle = (counted) => {
          if (!counted) held.forget(lease.id, lease.microbatch);
        };
      }
    }
    const computeMs = performance.now() - started;
    this.send(term, this.sendReceipt(term, lease, output, lossSum, computeMs, settle));
  }

  private async sendReceipt(
    term: Term,
    lease: Lease,
    output: Float32Array<ArrayBuffer> | null,
    lossSum: number | null,
    computeMs: number,
    settle: (counted: boolean) => void,
  ): Promise<void> {
    let counted = false;
    try {
      const { sequences, model } = this.run!;
      const outputHash = output ? await sha256Hex(output) : null;
      const payload = output ? await this.payload(term, output, [sequences, model.context, model.width]) : null;
      ({ counted } = await this.connection!.request('receipt', {
        leaseId: lease.id,
        inputHash: lease.inputHash,
        outputHash,
        output: payload,
        lossSum,
        computeMs,
      }));
    } catch (error) {
      // Sent twice over a reconnect: the first one counted.
      counted = error instanceof SwarmError && error.code === 'RECEIPT_DUPLICATE';
      if (!counted) throw error;
    } finally {
      settle(counted);
    }
    if (term !== this.term) return;
    this.rebuilds = 0;
    if (!counted) {
      this.update({ surplus: this.current.surplus + 1 });
      return;
    }
    if (lease.kind === 'backward') {
      const tokens = this.run!.sequences * this.run!.model.context;
      this.rate.add(tokens, Date.now());
      this.update({ tokens: this.current.tokens + tokens });
    }
    this.update({ microbatches: this.current.microbatches + 1, error: null });
  }

  private async handIn(term: Term, { stage, version, round }: Collect): Promise<void> {
    await Promise.allSettled(term.unanswered);
    const { held } = term;
    if (!held || held.version !== version || held.spec.index !== stage) return;
    this.act('uploading', `Handing in the gradient of step ${version}.`);
    if (term.handedIn?.round !== round) {
      const taken = await held.takeGradient(round);
      if (!taken) throw new SwarmError('CONTRIBUTION_MISMATCH', `The gradient of round ${round} is not here.`);
      const { sum, microbatches } = taken;
      term.handedIn = { round, microbatches, frame: await encodeFrame(sum, [sum.length]) };
    }
    const { frame, microbatches } = term.handedIn;
    const contribute = async (): Promise<void> => {
      const gradient = await this.blobs.put(frame, term.abort.signal);
      try {
        await this.connection!.request('contribution', { stage, version, round, gradient, microbatches });
      } catch (error) {
        const code = error instanceof SwarmError ? error.code : null;
        if (code === 'CONTRIBUTION_UNEXPECTED') return; // it was taken before the connection broke
        if (code === 'CONTRIBUTION_LATE') {
          this.refused(error as SwarmError);
          return; // others were faster; the stage is held on to
        }
        if (code !== 'BLOB_NOT_FOUND') throw error;
        await contribute(); // the upload went with the connection
      }
    };
    await contribute();
  }

  private async applyMerge(term: Term, { stage, version, gradient, optimizer }: Merge): Promise<void> {
    const { held } = term;
    if (!held || held.spec.index !== stage || version < held.version) return;
    if (version > held.version + 1) throw new SwarmError('PARAMETERS_DIVERGED', `Missed the merge before version ${version}.`);
    if (version === held.version + 1) {
      this.act('applying', `Applying step ${version}.`);
      const sum = await readVector(await this.blobs.get(gradient, term.abort.signal), held.layout.size);
      if (term !== this.term) return;
      await held.apply(sum, optimizer);
      this.update({ version, parameterHash: held.parameterHash });
    }
    this.send(term, this.connection!.request('applied', { stage, version, parameterHash: held.parameterHash }));
  }

  // ── wire ──────────────────────────────────────────────────────────────────────────────────────

  /** Lets a request go its way; its refusal is shown, and a receipt's answer is waited for before a gradient is handed in. */
  private send(term: Term, request: Promise<unknown>): void {
    const answered = request.then(
      () => {},
      (error: unknown) => {
        if (term === this.term && !this.stopped) this.refused(SwarmError.from(error));
      },
    );
    term.unanswered.add(answered);
    void answered.then(() => term.unanswered.delete(answered));
  }

  private async read(term: Term, payload: Payload): Promise<TensorData> {
    const phase = this.enter('wire');
    try {
      const bytes = payload instanceof Uint8Array ? payload : await this.blobs.get(payload.blob, term.abort.signal);
      return (await decodeFrame(bytes)).data;
    } finally {
      this.enter(phase);
    }
  }

  private async payload(term: Term, data: Float32Array<ArrayBuffer>, shape: number[]): Promise<Payload> {
    const frame = await encodeFrame(data, shape);
    return frame.byteLength <= INLINE_LIMIT ? frame : { blob: await this.blobs.put(frame, term.abort.signal) };
  }

  // ── state ─────────────────────────────────────────────────────────────────────────────────────

  private refused(error: SwarmError): void {
    const refusals = [{ time: Date.now(), error: error.toWire() }, ...this.current.refusals].slice(0, REFUSALS_SHOWN);
    this.update({ rejected: this.current.rejected + 1, refusals });
  }

  private idle(): void {
    if (this.stopped || !this.connection) return;
    this.act('waiting', this.waiting.message, this.waiting);
  }

  private act(activity: Activity, reason: string | null, waiting: Waiting | null = null): void {
    if (activity !== 'waiting') this.waiting = IDLE;
    this.enter(PHASE_OF[activity]);
    this.update({ activity, reason, waiting });
    // Leading edge would tell of every lease twice; a page that lags by a quarter second loses nothing.
    this.statusTimer ??= setTimeout(() => {
      this.statusTimer = null;
      this.connection?.tell('status', { activity: this.current.activity, reason: this.current.reason?.slice(0, 200) ?? null });
    }, STATUS_MS);
  }

  /** Books the time since the last change on the phase that ends; returns that phase. */
  private enter(phase: Phase): Phase {
    const { phase: ended, since } = this.meter;
    const now = performance.now();
    this.current = { ...this.current, spent: { ...this.current.spent, [ended]: this.current.spent[ended] + now - since } };
    this.meter = { phase, since: now };
    return ended;
  }

  private update(change: Partial<MinerState>): void {
    const now = Date.now();
    const since = change.activity && change.activity !== this.current.activity ? now : this.current.since;
    const memory = this.kernels?.memory() ?? this.current.memory;
    this.current = { ...this.current, since, memory, tokensPerSecond: this.rate.perSecond(now), ...change };
    for (const listener of this.listeners) listener(this.current);
  }
}

function newTerm(round: number): Term {
  return {
    round,
    abort: new AbortController(),
    held: null,
    seen: new Set(),
    waiting: new Set(),
    cancelled: new Set(),
    unanswered: new Set(),
    handedIn: null,
  };
}

function initialState(name: string): MinerState {
  return {
    activity: 'connecting',
    reason: null,
    since: Date.now(),
    backend: null,
    adapter: null,
    fallback: null,
    minerId: null,
    name,
    stage: null,
    stages: null,
    layers: null,
    version: null,
    parameterHash: null,
    parameters: null,
    session: null,
    waiting: null,
    microbatches: 0,
    surplus: 0,
    tokens: 0,
    tokensPerSecond: 0,
    rejected: 0,
    spent: { compute: 0, wire: 0, merge: 0, wait: 0 },
    refusals: [],
    error: null,
    memory: { tensors: 0, bytes: 0 },
  };
}
