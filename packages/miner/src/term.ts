/**
 * A miner's work from one assignment to the next: the stage it holds, its leases, gradients and merges. When the term has
 * ended, whatever is still under way in it is void.
 */
import { type Crossing, crossingOf } from '@starling/codecs';
import type { Kernels } from '@starling/kernels';
import { layoutOf, stageMemory } from '@starling/model';
import {
  type Assign,
  type Collect,
  type DeviceSigner,
  decodeFrame,
  deviceText,
  encodeFrame,
  INLINE_LIMIT,
  type Lease,
  type Merge,
  type Payload,
  type Prefetch,
  type Reduce,
  type RunConfig,
  receiptMessage,
  SwarmError,
  sha256Hex,
  type TensorData,
} from '@starling/protocol';
import type { ErrorFeedback } from '@starling/reduce';
import type { BlobClient } from './blob-client.ts';
import type { Connection } from './connection.ts';
import { HeldStage, readVector, type StageInput } from './held-stage.ts';
import { Merging } from './merging.ts';
import type { Status } from './status.ts';

/** With overlap, leases of two versions are under way at once. */
const VERSIONS_SEEN = 2;

export interface TermParts {
  connection: Connection;
  blobs: BlobClient;
  status: Status;
  run: RunConfig;
  /** Signs receipts. */
  device: DeviceSigner | null;
  /** The server's name for itself, which the signatures are for. */
  server: string;
  /** The stage to work with. */
  stage(held: HeldStage): HeldStage;
  /** What this miner could not say of its gradients of a stage yet; null where nothing is held back. Outlasts a term. */
  feedbackOf(stage: number, length: number): ErrorFeedback | null;
  /** A receipt was answered: the device works. */
  onReceipt(): void;
}

export class Term {
  /** Of the assignment: an older one that comes late is void. */
  readonly round: number;
  /** The stage; null until it is loaded. */
  held: HeldStage | null = null;
  /** It is compiled, too: it can be worked with. */
  ready = false;
  private readonly parts: TermParts;
  private readonly crossing: Crossing;
  private readonly abort = new AbortController();
  /** Leases that came, by version: one that is granted again over a reconnect is not computed twice. */
  private readonly seen = new Map<number, Set<string>>();
  /** Leases that are not begun. */
  private readonly waiting = new Set<string>();
  /** Leases that went elsewhere before they were begun. */
  private readonly cancelled = new Set<string>();
  /** Receipts on the wire: a gradient is complete when they are answered. */
  private readonly unanswered = new Set<Promise<void>>();
  private merging: Merging | null = null;

  constructor(round: number, parts: TermParts) {
    this.round = round;
    this.parts = parts;
    this.crossing = crossingOf(parts.run);
  }

  get ended(): boolean {
    return this.abort.signal.aborted;
  }

  /** `lost`: the device is gone, and with it what the stage had there. */
  end(lost = false): void {
    this.abort.abort(new SwarmError('CONNECTION_LOST', 'Replaced by a newer assignment.'));
    if (!lost) this.held?.dispose();
    this.held = null;
  }

  /** False when this lease came before. */
  take({ id: leaseId, version }: Lease): boolean {
    const seen = this.seen.get(version) ?? new Set();
    if (seen.has(leaseId)) return false;
    this.seen.set(version, seen.add(leaseId));
    // Of a step that is long over none is granted again.
    for (const old of this.seen.keys()) if (old < version - VERSIONS_SEEN) this.seen.delete(old);
    this.waiting.add(leaseId);
    return true;
  }

  /** One that is begun is not worth interrupting: it may be the first all the same. */
  cancel(leaseId: string): void {
    this.cancelled.add(leaseId);
  }

  /** Something given to this miner is not answered yet, or its part of a step is not handed in. */
  get owes(): boolean {
    return this.waiting.size > 0 || this.unanswered.size > 0 || (this.held?.hasGradient ?? false);
  }

  /** The leases that are not begun, which from now on are somebody else's. */
  giveBack(): string[] {
    const leases = [...this.waiting];
    this.waiting.clear();
    for (const leaseId of leases) this.cancelled.add(leaseId);
    return leases;
  }

  async hold(kernels: Kernels, { stage, round, version, state, inner }: Assign): Promise<void> {
    const { run, status, blobs, connection } = this.parts;
    const spec = run.stages[stage]!;
    const size = layoutOf(run.model, spec).size;
    status.update({
      stage,
      version: null,
      parameterHash: null,
      layers: [spec.firstLayer, spec.firstLayer + spec.layers - 1],
      parameters: size,
    });
    const { total } = stageMemory(run.model, spec, run.sequences, kernels.backend, run.precision);
    const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
    status.act('downloading', `Fetching stage ${stage}: ${megabytes(12 * size)}; it will take about ${megabytes(total)} on the device.`);
    const vector = async (hash: string) => readVector(await blobs.get(hash, this.abort.signal), size);
    const [parameters, firstMoment, secondMoment] = await Promise.all([
      vector(state.parameters),
      vector(state.firstMoment),
      vector(state.secondMoment),
    ]);
    if (this.ended) return;
    status.act('warming-up', 'Compiling the kernels of this stage.');
    const loaded = await HeldStage.load(kernels, run, spec, version, { parameters, firstMoment, secondMoment }, inner);
    const held = this.parts.stage(loaded);
    if (this.ended) {
      held.dispose();
      return;
    }
    this.held = held;
    const { gradient: codec, merged } = run;
    this.merging = new Merging({ codec, merged }, held, blobs, this.abort.signal, this.parts.feedbackOf(stage, size));
    await held.warmUp((done, of) => status.act('warming-up', `Compiling the kernels of this stage: ${done} of ${of}.`));
    if (this.ended) return;
    this.ready = true;
    status.update({ version, parameterHash: held.parameterHash, error: null });
    this.send(connection.request('ready', { stage, round, version, parameterHash: held.parameterHash }));
  }

  // ── leases ────────────────────────────────────────────────────────────────────────────────────

  async work(lease: Lease): Promise<void> {
    const { held } = this;
    this.waiting.delete(lease.id);
    if (!held || lease.stage !== held.spec.index || lease.version !== held.version) return; // its receipt could not count
    await held.catchUp();
    const kept = lease.kind === 'backward' ? held.takeInput(lease.microbatch) : undefined;
    if (this.cancelled.delete(lease.id)) return;
    this.parts.status.act(lease.kind, sentence(lease, held.spec));
    const started = performance.now();
    const input = lease.input ? await this.readInput(held, lease.input, lease.tokens) : kept;
    if (!input) {
      // It went with another lease for the same backward, which came with an input of its own: this one goes to somebody else.
      await this.parts.connection.request('busy', { leaseId: lease.id, pauseMs: 0 }).catch(() => {});
      return;
    }
    const targets = lease.targets ? await this.readTokens(lease.targets) : null;
    let output: TensorData | null = null;
    let lossSum: number | null = null;
    let settle: (counted: boolean) => void = () => {};
    if (lease.kind === 'backward') {
      const result = await held.backward(input, targets ?? this.crossing.input(await this.read(lease.outputGradient!)));
      ({ inputGradient: output, lossSum } = result);
      settle = (counted) => (counted ? held.accept(lease.round, lease.microbatch, result.gradient) : held.discard(result.gradient));
    } else if (held.spec.isLast) {
      lossSum = await held.canonically(() => held.loss(input, targets!));
    } else {
      output = await (lease.kind === 'evaluate' ? held.canonically(() => held.forward(input)) : held.forward(input));
      if (lease.kind === 'forward') {
        held.keep(lease.id, lease.microbatch, input);
        settle = (counted) => {
          if (!counted) held.forget(lease.id, lease.microbatch);
        };
      }
    }
    this.send(this.sendReceipt(lease, { output, lossSum, computeMs: performance.now() - started }, settle));
  }

  private async sendReceipt(
    { id, kind, inputHash }: Lease,
    { output, lossSum, computeMs }: { output: TensorData | null; lossSum: number | null; computeMs: number },
    settle: (counted: boolean) => void,
  ): Promise<void> {
    const { run, connection, status, device, server, onReceipt } = this.parts;
    let counted = false;
    try {
      const outputHash = output ? await sha256Hex(output) : null;
      const payload = output ? await this.payload(output) : null;
      const said = { leaseId: id, inputHash, outputHash, lossSum };
      const signature = device ? await device.sign(deviceText(await receiptMessage(server, said))) : undefined;
      const receipt = { ...said, output: payload, computeMs, signature };
      const send = () => connection.request('receipt', receipt);
      ({ counted } = await send().catch(async (error: unknown) => {
        if (!output || !(error instanceof SwarmError) || error.code !== 'BLOB_NOT_FOUND') throw error;
        await this.payload(output); // the upload went with the server that had it
        return send();
      }));
    } catch (error) {
      // Sent twice over a reconnect: the first one counted.
      counted = error instanceof SwarmError && error.code === 'RECEIPT_DUPLICATE';
      if (!counted) throw error;
    } finally {
      settle(counted);
    }
    if (this.ended) return;
    onReceipt();
    status.settled(counted, kind === 'backward' ? run.sequences * run.model.context : 0);
  }

  // ── merging ───────────────────────────────────────────────────────────────────────────────────

  async handIn({ stage, version, round, shards }: Collect): Promise<void> {
    await Promise.allSettled(this.unanswered);
    const { held, merging } = this;
    const { status, connection } = this.parts;
    // What was asked for before a merge is asked for again after a reconnect.
    if (!held || !merging || held.spec.index !== stage || (held.version !== version && !merging.holds(round))) return;
    status.act('uploading', `Handing in the gradient of step ${version}.`);
    const gradient = await merging.gradientOf(round, shards);
    const contribute = async (): Promise<void> => {
      const hashes = await gradient.upload();
      try {
        await connection.request('contribution', { stage, version, round, shards: hashes, microbatches: gradient.microbatches });
      } catch (error) {
        const code = error instanceof SwarmError ? error.code : null;
        if (code === 'CONTRIBUTION_UNEXPECTED') return; // it was taken before the connection broke
        if (code === 'CONTRIBUTION_LATE') {
          gradient.takeBack();
          status.refused(error as SwarmError);
          return; // others were faster; the stage is held on to
        }
        if (code !== 'BLOB_NOT_FOUND') throw error;
        await contribute(); // the upload went with the connection
      }
    };
    // The next step does not wait for it where merges overlap with it.
    if (this.parts.run.overlap) this.send(contribute());
    else await contribute();
  }

  prefetch({ stage, shards }: Prefetch): void {
    if (this.held?.spec.index === stage) this.merging?.prefetch(shards);
  }

  async reduce(task: Reduce): Promise<void> {
    const { held, merging } = this;
    const { status, connection } = this.parts;
    const { stage, version, round, shard, shards } = task;
    if (!held || !merging || held.spec.index !== stage) return;
    status.act('reducing', `Adding up shard ${shard + 1} of ${shards} of step ${version}.`);
    const reduce = async (): Promise<void> => {
      const hash = await merging.reduce(task);
      if (hash === null) return; // the merge went on without it
      await connection.request('reduced', { stage, version, round, shard, hash }).catch(async (error: unknown) => {
        const code = error instanceof SwarmError ? error.code : null;
        if (code === 'MERGE_UNEXPECTED') return; // it came too late, or twice over a reconnect
        if (code !== 'BLOB_NOT_FOUND') throw error;
        await reduce(); // the upload went with the server that had it
      });
    };
    this.send(reduce());
  }

  async applyMerge({ stage, version, shards, update }: Merge): Promise<void> {
    const { held, merging } = this;
    const { status, connection } = this.parts;
    if (!held || !merging || held.spec.index !== stage || version < held.version) return;
    if (version > held.version + 1) throw new SwarmError('PARAMETERS_DIVERGED', `Missed the merge before version ${version}.`);
    if (version === held.version + 1) {
      status.act('applying', `Applying step ${version}.`);
      const sum = update.kind === 'none' ? null : await merging.merged(shards);
      if (this.ended) return;
      await held.apply(sum, update);
      status.update({ version, parameterHash: held.parameterHash });
    }
    this.send(connection.request('applied', { stage, version, parameterHash: held.parameterHash }));
  }

  // ── wire ──────────────────────────────────────────────────────────────────────────────────────

  /** Lets a request go its way; its refusal is shown, and a receipt's answer is waited for before a gradient is handed in. */
  private send(request: Promise<unknown>): void {
    const answered = request.then(
      () => {},
      (error: unknown) => {
        if (!this.ended) this.parts.status.refused(SwarmError.from(error));
      },
    );
    this.unanswered.add(answered);
    void answered.then(() => this.unanswered.delete(answered));
  }

  private async read(payload: Payload): Promise<TensorData> {
    const { status, blobs } = this.parts;
    const phase = status.enter('wire');
    try {
      const bytes = payload instanceof Uint8Array ? payload : await blobs.get(payload.blob, this.abort.signal);
      return (await decodeFrame(bytes)).data;
    } finally {
      status.enter(phase);
    }
  }

  private async readInput({ spec }: HeldStage, payload: Payload, tokens: Payload | null): Promise<StageInput> {
    const values = spec.isFirst ? await this.readTokens(payload) : this.crossing.input(await this.read(payload));
    return { values, tokens: tokens ? await this.readTokens(tokens) : undefined };
  }

  private async readTokens(payload: Payload): Promise<Int32Array<ArrayBuffer>> {
    const tensor = await this.read(payload);
    if (tensor instanceof Uint8Array) return Int32Array.from(tensor);
    if (!(tensor instanceof Int32Array)) throw new SwarmError('TENSOR_SHAPE', 'Tokens are int32 or uint8.');
    return tensor;
  }

  private async payload(data: TensorData): Promise<Payload> {
    const frame = await encodeFrame(data, this.crossing.shape);
    return frame.byteLength <= INLINE_LIMIT ? frame : { blob: await this.parts.blobs.put(frame, this.abort.signal) };
  }
}

const DOES = { forward: 'Runs', backward: 'Computes the gradient of', evaluate: 'Measures the loss on' } as const;

/** What the device computes now. */
function sentence({ kind, microbatch, version }: Lease, { firstLayer, layers }: HeldStage['spec']): string {
  const last = firstLayer + layers - 1;
  const through = firstLayer === last ? `layer ${firstLayer}` : `layers ${firstLayer} to ${last}`;
  const what = kind === 'evaluate' ? `held-out text ${microbatch}` : `microbatch ${microbatch}`;
  return `${DOES[kind]} ${what} of step ${version + 1}, through ${through}.`;
}
