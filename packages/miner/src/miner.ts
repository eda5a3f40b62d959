/**
 * The miner's runtime: one stage, one queue. Commands that need the device are worked off one after the other; receipts
 * are on the wire meanwhile. An assignment starts a new *term*: whatever an older term still does is void.
 */
import type { Kernels } from '@starling/kernels';
import { stageMemory } from '@starling/model';
import {
  type Assign,
  type Collect,
  type CommandName,
  type Commands,
  type DeviceSigner,
  explain,
  type Lease,
  type Merge,
  PROTOCOL_VERSION,
  precisionOf,
  type Reduce,
  type RunConfig,
  SwarmError,
  type Waiting,
  type Welcome,
} from '@starling/protocol';
import { ErrorFeedback } from '@starling/reduce';
import { BlobClient } from './blob-client.ts';
import { Compute } from './compute.ts';
import { Connection } from './connection.ts';
import type { HeldStage } from './held-stage.ts';
import { LEAST_INTENSITY, restAfter } from './pacing.ts';
import type { MinerState } from './state.ts';
import { Status } from './status.ts';
import { Term } from './term.ts';

export interface MinerOptions {
  url: string;
  name: string;
  /** `auto`: WebGPU, else wasm, and the state says why; a GPU that is lost is tried for some seconds before wasm takes its place. */
  backend: 'auto' | 'webgpu' | 'wasm';
  /** Bytes on the device that a stage may need, at most; absent: what the device gives. */
  memoryCap?: number;
  /** See `setIntensity`. */
  intensity?: number;
}

export interface MinerPorts {
  /** Builds the compute backend; throws SwarmError WEBGPU_UNAVAILABLE, BACKEND_FAILED or CODE_MISSING. */
  createKernels(backend: 'webgpu' | 'wasm'): Promise<Kernels>;
  /** Remembers the session over reloads. */
  storage: { get(key: string): Promise<string | null>; set(key: string, value: string): Promise<void> };
  /** For tests: makes another stage of the one that was loaded. */
  stage?(held: HeldStage, run: RunConfig): HeldStage;
  /** The key that signs receipts, asked for once. Absent, or null: there is none, and the work earns nothing on a chain. */
  device?(): Promise<DeviceSigner | null>;
}

/** A server that is full is asked again after about so long. */
const FULL_PAUSE_MS = 15_000;
/** As long as a server grants. */
const REST_MS = 60_000;
/** A step's merge may take its time; whoever wants to go does not wait for ever. */
const FINISH_MS = 120_000;
const POLL_MS = 100;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export class Miner {
  readonly options: MinerOptions;
  private readonly ports: MinerPorts;
  private readonly blobs: BlobClient;
  private readonly status: Status;
  private readonly compute: Compute;
  private connection: Connection | null = null;
  /** From when a connection was lost to the server's next word; null while there is one. */
  private outage: Waiting | null = null;
  private session: { minerId: string; token: string } | undefined;
  private device: DeviceSigner | null = null;
  private run: RunConfig | null = null;
  /** The server's name for itself. */
  private server = '';
  /** Null before the first assignment, and after one was given up. */
  private term: Term | null = null;
  private feedback: { runId: string; stage: number; kept: ErrorFeedback } | null = null;
  /** Of the newest assignment. */
  private round = 0;
  private queue: Promise<void> = Promise.resolve();
  private queued = 0;
  private stopped = false;
  private intensity = 1;
  private paused: Waiting | null = null;
  /** While it finishes, the version of the step that it completes; null: it does not. */
  private lastVersion: number | null = null;
  private resting: ReturnType<typeof setTimeout> | undefined;
  /** Ends the rest after a lease, should there be one. */
  private endRest = () => {};

  constructor(options: MinerOptions, ports: MinerPorts) {
    this.options = options;
    this.ports = ports;
    this.setIntensity(options.intensity ?? 1);
    this.status = new Status(options.name, {
      tell: (activity, reason) => this.connection?.tell('status', { activity, reason }),
      memory: () => this.compute.kernels?.memory() ?? null,
    });
    this.compute = new Compute(options.backend, this.status, {
      create: (backend) => ports.createKernels(backend),
      gone: (error) => {
        // What it held goes to others at once.
        this.endTerm({ deviceLost: true });
        this.connection?.stepAside(error.message);
      },
      back: () => {
        this.join();
        if (this.outage) this.sayOffline(this.outage);
      },
      fails: (error) => this.refusedEntry(error),
      isStopped: () => this.stopped,
    });
    this.blobs = new BlobClient(options.url, (error) => {
      // While there is no connection that is said alone: nothing else would mend a download.
      if (!this.outage) this.status.update({ error: error.toWire() });
    });
  }

  get state(): MinerState {
    return this.status.state;
  }

  onState(listener: (state: MinerState) => void): () => void {
    return this.status.onState(listener);
  }

  /** Builds the backend and connects. Throws what makes mining impossible here; the state then shows it too. */
  async start(): Promise<void> {
    try {
      await this.compute.build();
      const saved = await this.ports.storage.get(this.sessionKey);
      this.session = saved ? JSON.parse(saved) : undefined;
      this.device = (await this.ports.device?.()) ?? null;
    } catch (error) {
      const fault = SwarmError.from(error, 'BACKEND_FAILED');
      this.status.update({ activity: 'stopped', reason: fault.message, error: fault.toWire() });
      throw fault;
    }
    if (this.stopped) return;
    this.connection = new Connection(this.options.url, {
      hello: () => ({
        protocol: PROTOCOL_VERSION,
        name: this.options.name || undefined,
        session: this.session,
        holding: this.term?.held ? { stage: this.term.held.spec.index, version: this.term.held.version } : null,
        backend: this.state.backend!,
        adapter: this.state.adapter!.slice(0, 200),
        device: this.device?.publicKey,
      }),
      welcome: (welcome) => this.welcome(welcome),
      command: (name, message) => this.command(name, message),
      refused: (error) => this.refusedEntry(error),
      lost: (reason, until) => this.offline(reason, until),
    });
  }

  /**
   * Nothing for so long (0: again something), and what is not begun goes to others at once. For a page that is about to be
   * frozen, say. Nobody is blamed for it.
   */
  rest(pauseMs: number): void {
    const leases = this.term?.giveBack() ?? [];
    for (const leaseId of leases.length > 0 ? leases : [null]) {
      this.connection?.request('busy', { leaseId, pauseMs }).catch(() => {}); // it went elsewhere already
    }
  }

  /** Share of the time in which it computes, above 0 to 1: after each lease it does nothing for the rest. */
  setIntensity(share: number): void {
    this.intensity = Math.min(1, Math.max(LEAST_INTENSITY, share));
    this.endRest();
  }

  /**
   * Nothing until `resume`: what is not begun goes to others at once, and the stage stays here. `reason`: shown, and told to the server.
   */
  pause(reason: Waiting): void {
    this.paused = reason;
    this.status.update({ paused: reason });
    this.keepResting();
    if (this.isIdle) this.idle();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = null;
    this.status.update({ paused: null });
    clearTimeout(this.resting);
    this.rest(0);
    if (this.isIdle) this.idle();
  }

  /** A rest is granted for a minute at most: it is asked for again and again. */
  private keepResting(): void {
    clearTimeout(this.resting);
    if (this.stopped || !this.paused) return;
    this.rest(REST_MS);
    this.resting = setTimeout(() => this.keepResting(), REST_MS / 2);
  }

  /**
   * Completes its part of the step that is under way and hands it in, takes nothing of the next, and then stops: nothing it did is
   * computed again. Resolves when it has.
   */
  async finish(reason: string): Promise<void> {
    if (this.stopped || this.lastVersion !== null) return;
    this.resume();
    this.lastVersion = this.term?.held?.version ?? -1;
    const message = 'Completing its part of this step; nothing of the next is taken.';
    this.status.update({ paused: { ...explain({ code: 'FINISHING', message }), since: Date.now(), until: Date.now() + FINISH_MS } });
    if (this.isIdle) this.idle();
    const deadline = performance.now() + FINISH_MS;
    // A stage that is still on its way would be of no use any more.
    const isHolding = () => this.term?.ready && (this.queued > 0 || this.term.owes);
    const goesOn = () => !this.stopped && performance.now() < deadline && isHolding();
    do {
      while (goesOn()) await pause(POLL_MS);
      // Of the next step it may have been given something by now: that goes back as it came.
      await this.connection?.quieten(REST_MS);
    } while (goesOn());
    await this.stop(
      isHolding() ? `${reason} Not all could be handed in within ${FINISH_MS / 1_000} s: others compute the rest again.` : reason,
    );
  }

  /** Gives back what it holds and frees the device. */
  async stop(reason: string): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    clearTimeout(this.resting);
    this.endRest();
    this.endTerm();
    await this.connection?.leave(reason);
    this.compute.close();
    this.status.close();
    this.status.update({ activity: 'stopped', reason, error: null });
  }

  // ── session ───────────────────────────────────────────────────────────────────────────────────

  private get sessionKey(): string {
    return `session ${this.options.url}`;
  }

  private welcome({ minerId, token, server, run }: Welcome): void {
    this.outage = null;
    if (this.session && this.session.minerId !== minerId) {
      // The server does not know it (any more), and so neither its stage nor its rounds.
      this.endTerm();
      this.round = 0;
    }
    this.session = { minerId, token };
    this.run = run;
    this.server = server;
    this.blobs.authorization = `Bearer ${minerId}.${token}`;
    void this.ports.storage.set(this.sessionKey, JSON.stringify(this.session)).catch(() => {}); // only a reload would miss it
    const { socketId } = this.connection!;
    this.status.update({ minerId, stages: run.stages.length, error: null, session: { minerId, token, socketId } });
    this.keepResting();
    this.idle();
  }

  private offline(reason: string, until: number): void {
    const message = `No connection (${reason}); it is tried again.`;
    this.outage = { ...explain({ code: 'OFFLINE', message }), since: this.outage?.since ?? Date.now(), until };
    // Without a device it waits for that, and says this when there is one.
    if (this.compute.kernels) this.sayOffline(this.outage);
  }

  private sayOffline(waiting: Waiting): void {
    const error = new SwarmError('CONNECTION_LOST', waiting.message).toWire();
    this.status.update({ activity: 'connecting', reason: waiting.message, waiting, error });
  }

  /** The device says that it has a network again. */
  online(): void {
    this.connection?.hurry();
  }

  private refusedEntry(error: SwarmError): void {
    this.outage = null;
    if (error.code === 'BUSY') {
      const pause = FULL_PAUSE_MS * (0.7 + 0.6 * Math.random());
      const { message } = error;
      const { waiting: before } = this.state;
      const since = before?.code === 'FULL' ? before.since : Date.now();
      const waiting = { ...explain({ code: 'FULL', message }), since, until: Date.now() + pause };
      this.status.update({ activity: 'connecting', reason: message, waiting, error: error.toWire() });
      setTimeout(() => this.join(), pause);
      return;
    }
    this.status.update({ activity: 'stopped', reason: error.message, error: error.toWire() });
    void this.stop(error.message).then(() => this.status.update({ error: error.toWire() }));
  }

  /** Drops the stage and asks for an assignment as a newcomer would. */
  private resynchronise(): void {
    this.endTerm();
    this.join();
  }

  /** Without a device there is nothing to join with: its stage would wait for this miner. */
  private join(): void {
    if (this.compute.kernels) this.connection?.join();
  }

  private endTerm({ deviceLost = false } = {}): void {
    this.term?.end(deviceLost);
    this.term = null;
  }

  // ── commands ──────────────────────────────────────────────────────────────────────────────────

  private command<K extends CommandName>(name: K, message: Commands[K]): void {
    const { kernels } = this.compute;
    if (!kernels) return; // about the place that was given up with the device
    switch (name) {
      case 'assign': {
        const assign = message as Assign;
        if (assign.round <= this.round) break;
        const short = this.memoryShort(kernels, assign.stage);
        if (short) {
          this.refusedEntry(short);
          break;
        }
        this.endTerm();
        this.round = assign.round;
        this.term = this.newTerm();
        this.enqueue(async (term) => term.hold(await this.compute.prepare(kernels, precisionOf(this.run!)), assign));
        break;
      }
      case 'lease': {
        const lease = message as Lease;
        if (this.lastVersion !== null && lease.version > this.lastVersion) {
          this.connection?.request('busy', { leaseId: lease.id, pauseMs: REST_MS }).catch(() => {}); // it went elsewhere already
          break;
        }
        if (this.term?.take(lease)) this.enqueue((term) => this.paced(() => term.work(lease)));
        break;
      }
      case 'collect':
        this.enqueue((term) => term.handIn(message as Collect));
        break;
      case 'reduce':
        this.enqueue((term) => term.reduce(message as Reduce));
        break;
      case 'prefetch':
        this.term?.prefetch(message as Commands['prefetch']);
        break;
      case 'merge':
        this.enqueue((term) => term.applyMerge(message as Merge));
        break;
      case 'cancel':
        this.term?.cancel((message as Commands['cancel']).leaseId);
        break;
      case 'wait':
        this.status.waiting = message as Commands['wait'];
        if (this.isIdle) this.idle();
        break;
    }
  }

  /** Null when the stage fits under the cap. */
  private memoryShort({ backend }: Kernels, stage: number): SwarmError | null {
    const { model, stages, sequences, precision } = this.run!;
    const { total, parameters, gradients, workspace } = stageMemory(model, stages[stage]!, sequences, backend, precision);
    const { memoryCap = Number.POSITIVE_INFINITY } = this.options;
    if (total <= memoryCap) return null;
    const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
    const parts = `parameters ${mb(parameters)}, gradients ${mb(gradients)}, activations ${mb(workspace)}`;
    return new SwarmError(
      'MEMORY_SHORT',
      `Stage ${stage} needs about ${mb(total)} on the device (${parts}); ${mb(memoryCap)} are allowed.`,
    );
  }

  private async paced(work: () => Promise<void>): Promise<void> {
    const started = performance.now();
    await work();
    const rest = restAfter(performance.now() - started, this.intensity);
    if (!rest || this.stopped) return;
    const since = Date.now();
    this.status.resting = { ...explain({ code: 'INTENSITY', message: rest.message }), since, until: since + rest.ms };
    this.idle();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, rest.ms);
      this.endRest = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.status.resting = null;
  }

  private newTerm(): Term {
    return new Term(this.round, {
      connection: this.connection!,
      blobs: this.blobs,
      status: this.status,
      run: this.run!,
      device: this.device,
      server: this.server,
      stage: (held) => this.ports.stage?.(held, this.run!) ?? held,
      feedbackOf: (stage, length) => this.feedbackOf(stage, length),
      onReceipt: () => this.compute.works(),
    });
  }

  /** It is kept over reconnects, and as long as this miner stays on its stage; on another it would mean nothing. */
  private feedbackOf(stage: number, length: number): ErrorFeedback | null {
    if (this.run!.gradient !== 'topk2bit') return null;
    const { runId } = this.run!;
    if (this.feedback?.runId !== runId || this.feedback.stage !== stage) this.feedback = { runId, stage, kept: new ErrorFeedback(length) };
    return this.feedback.kept;
  }

  private enqueue(task: (term: Term) => Promise<void>): void {
    const { term } = this;
    if (!term) return; // about a stage that was given up; a new assignment has been asked for
    this.queued += 1;
    this.queue = this.queue
      .then(() => (term.ended ? undefined : task(term)))
      .catch((error: unknown) => this.failed(term, error))
      .then(() => {
        this.queued -= 1;
        if (this.queued === 0) this.idle();
      });
  }

  private failed(term: Term, error: unknown): void {
    if (term.ended) return; // replaced meanwhile: nothing of it counts
    const fault = SwarmError.from(error, 'BACKEND_FAILED');
    this.status.refused(fault);
    if (fault.code === 'MEMORY_SHORT') this.refusedEntry(fault);
    else if (fault.code === 'DEVICE_WRONG') this.compute.refuse(fault);
    else if (fault.code === 'BACKEND_FAILED') void this.compute.rebuild(fault);
    else this.resynchronise();
  }

  /** Nothing is computed at the moment: the state says why. */
  private get isIdle(): boolean {
    return this.queued === 0 || this.status.resting !== null;
  }

  private idle(): void {
    if (this.stopped || !this.connection || !this.compute.kernels) return;
    if (this.outage) {
      // What it waits for now is a connection, whatever the server said last.
      this.status.enter('wait');
      this.sayOffline(this.outage);
    } else this.status.idle();
  }
}
