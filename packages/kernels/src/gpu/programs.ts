/** Programs as a device runs them: traced once, bound once, and then only encoded again and again. */
import { SwarmError } from '@starling/protocol';
import type { AttentionShape, Definition, Kept, PackedFormat, Programs, Run, StepTime } from '../kernels.ts';
import type { Bound, Device } from './device.ts';
import { PACKABLE, packSteps } from './pack.ts';
import { type Flat, flatOf, type Plan, plan, type Traced, trace } from './plan.ts';
import { elementwiseStep } from './rows.ts';
import type { Shader, Step } from './shader.ts';
import type { Tuner } from './tuner.ts';
import { type HalfFormat, Value } from './value.ts';

/** A dispatch, ready. */
interface Recorded {
  flops: number;
  pipeline: GPUComputePipeline;
  group: GPUBindGroup;
  size: readonly [x: number, y: number];
}

/** Longest that a submission should take: the desktop is drawn by the same GPU. */
const SUBMISSION_MS = 80;
/** A shorter run tells of the way to the device and back, not of its speed. */
const TELLING_MS = 20;
/** Most that is read back at once: it is held twice meanwhile. */
const READ_BYTES = 32 * 2 ** 20;

/** Where what is kept lies: the plan, and the buffers. */
interface Home {
  flat: Flat;
  buffers: readonly GPUBuffer[];
}

/** The buffers of what one run keeps, and every dispatch of its program bound to them. */
class KeptSet implements Kept {
  readonly program: Program;
  readonly buffers: readonly GPUBuffer[];
  readonly recording: readonly Recorded[];

  constructor(program: Program, buffers: readonly GPUBuffer[], recording: readonly Recorded[]) {
    this.program = program;
    this.buffers = buffers;
    this.recording = recording;
  }

  get size(): number {
    return this.program.traced.kept.reduce((sum, { size }) => sum + size, 0);
  }
}

/** A result, made small: the dispatches that do it, and where they leave it. */
interface Packing {
  words: GPUBuffer;
  recording: readonly Recorded[];
}

interface Compiled {
  shader: Shader;
  pipeline: GPUComputePipeline;
  flops: number;
}

interface Program {
  name: string;
  traced: Traced;
  /** Where what is kept lies. */
  flat: Flat;
  /** The shaders of its steps, once they are chosen and compiled. */
  compiled: readonly Compiled[] | null;
  preparing: Promise<void> | null;
  /** Sets that nobody has; the first is made before the program runs. Where nothing is kept there is one, without buffers. */
  spare: KeptSet[];
  packings: Map<string, Packing>;
}

export class RecordedPrograms implements Programs {
  private readonly device: Device;
  private readonly tuner: Tuner;
  private readonly programs: ReadonlyMap<string, Program>;
  private readonly plan: Plan;
  private slots: Promise<void> | GPUBuffer[] | null = null;
  /** All that was made, to be destroyed at the end. */
  private readonly buffers: GPUBuffer[] = [];
  private running = 0;
  private disposed = false;

  constructor(
    device: Device,
    tuner: Tuner,
    definitions: Readonly<Record<string, Definition>>,
    { anglesOf, halves }: { anglesOf: (shape: AttentionShape) => Value; halves: HalfFormat | null },
  ) {
    this.device = device;
    this.tuner = tuner;
    const programs = Object.entries(definitions).map(([name, definition]): [string, Program] => {
      const traced = trace(definition, anglesOf, halves);
      const flat = flatOf(
        traced.kept.map(({ bytes }) => bytes),
        device.largestBuffer,
      );
      return [name, { ...{ name, traced, flat, spare: [] }, compiled: null, preparing: null, packings: new Map() }];
    });
    this.programs = new Map(programs);
    this.plan = plan(programs.map(([, { traced }]) => traced));
  }

  get workspace() {
    return { bytes: this.plan.slots.reduce((sum, bytes) => sum + bytes, 0), needed: this.plan.peak };
  }

  async prepare(onProgress: (done: number, of: number) => void = () => {}): Promise<void> {
    const programs = [...this.programs.values()];
    await this.tuner.tune(programs.flatMap(({ traced }) => traced.steps.map(({ step }) => step)));
    const total = programs.reduce((sum, { traced }) => sum + traced.steps.length, 0);
    let done = 0;
    const compiled = () => {
      done += 1;
      onProgress(done, total);
    };
    await Promise.all(programs.map((program) => this.ready(program, compiled)));
  }

  async run(
    name: string,
    inputs: Record<string, Float32Array | Int32Array>,
    formats: Record<string, PackedFormat | null> = {},
  ): Promise<Run> {
    const program = this.programs.get(name)!;
    const { traced } = program;
    for (const [input, value] of Object.entries(traced.inputs)) {
      if (inputs[input]?.length !== value.size)
        throw new SwarmError('TENSOR_SHAPE', `The program ${name} takes ${value.size} numbers as ${input}, not ${inputs[input]?.length}.`);
    }
    this.mustBeThere();
    if (!program.compiled) await this.ready(program, () => {});
    this.mustBeThere();

    // From here to the submission nothing waits, so that calls are enqueued in their order.
    const { queue } = this.device.gpu;
    const set = program.spare.pop() ?? this.makeSet(program);
    for (const [input, value] of Object.entries(traced.inputs)) {
      const { buffer, offset } = this.bound(value, null);
      queue.writeBuffer(buffer, offset, inputs[input]! as Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>);
    }
    const names = Object.keys(traced.results);
    const packings = names.map((result) => {
      const format = formats[result];
      return format && traced.results[result]!.shape.at(-1)! % PACKABLE[format] === 0 ? this.packing(program, result, format) : null;
    });
    const parts = names.map((result, i): Bound => {
      const packing = packings[i];
      return packing ? whole(packing.words) : this.bound(traced.results[result]!, { flat: program.flat, buffers: set.buffers });
    });
    const recording = [...set.recording, ...packings.flatMap((packing) => packing?.recording ?? [])];
    const started = performance.now();
    const read = this.submit(recording, parts);
    this.running += 1;
    const alone = this.running === 1;
    try {
      const copies = await read();
      const took = performance.now() - started;
      if (alone && took >= TELLING_MS) this.device.speed = recording.reduce((sum, { flops }) => sum + flops, 0) / took;
      const numbers = copies.map((copy, i) => (packings[i] ? new Uint8Array(copy) : new Float32Array(copy)));
      return { results: Object.fromEntries(names.map((result, i) => [result, numbers[i]!])), kept: this.given(set) };
    } catch (error) {
      this.release(set);
      throw error;
    } finally {
      this.running -= 1;
    }
  }

  /** Each step is submitted and waited for alone, so a sum of them is more than a run takes. On whatever numbers are there. */
  async profile(name: string): Promise<StepTime[]> {
    const program = this.programs.get(name)!;
    await this.ready(program, () => {});
    this.mustBeThere();
    const set = program.spare.pop() ?? this.makeSet(program);
    const times = new Map<string, StepTime>();
    for (const [i, { step }] of program.traced.steps.entries()) {
      const label = `${step.label} (${this.tuner.choose(step).name})`;
      const time = times.get(label) ?? { label, count: 0, ms: 0, flops: step.flops ?? 0 };
      times.set(label, time);
      const started = performance.now();
      this.submit([set.recording[i]!], []);
      await this.device.gpu.queue.onSubmittedWorkDone();
      time.ms += performance.now() - started;
      time.count += 1;
    }
    this.release(set);
    return [...times.values()];
  }

  accumulate(sum: Kept, more: Kept): void {
    this.mustBeThere();
    const [into, from] = [sum as KeptSet, more as KeptSet];
    const recording = into.buffers.map((buffer, chunk) => {
      const [to, added] = [valueIn(buffer), valueIn(from.buffers[chunk]!)];
      const shader = elementwiseStep('sum in place', [to], (read) => [`${read(to)} + ${read(added)}`]).variants[0]!.build();
      return this.record(shader, this.device.pipelineNow(shader), null);
    });
    this.submit(recording, []);
    this.release(from);
  }

  async read(kept: Kept): Promise<Float32Array<ArrayBuffer>> {
    this.mustBeThere();
    const set = kept as KeptSet;
    const { places } = set.program.flat;
    const parts = places.map(({ chunk, offset, bytes }): Bound => ({ buffer: set.buffers[chunk]!, offset, size: bytes }));
    const flat = new Float32Array(set.size);
    let at = 0;
    while (parts.length > 0) {
      const batch = parts.splice(0, 1);
      let size = batch[0]!.size;
      while (parts.length > 0 && size + parts[0]!.size <= READ_BYTES) {
        batch.push(parts.shift()!);
        size += batch.at(-1)!.size;
      }
      const read = this.submit([], batch);
      if (parts.length === 0) this.release(set); // whoever takes it is enqueued after the last copy
      for (const copy of await read()) {
        flat.set(new Float32Array(copy), at);
        at += copy.byteLength / 4;
      }
    }
    return flat;
  }

  release(kept: Kept): void {
    const set = kept as KeptSet;
    set.program.spare.push(set);
  }

  dispose(): void {
    this.disposed = true;
    for (const buffer of this.buffers.splice(0)) this.device.destroy(buffer);
  }

  /** Submitting what refers to destroyed buffers would be the device's fault, and the end of it. */
  private mustBeThere(): void {
    if (!this.disposed) return;
    this.dispose(); // what was made since
    throw new SwarmError('BACKEND_FAILED', 'These programs were given up.');
  }

  // ── before the first run ──────────────────────────────────────────────────────────────────────

  private ready(program: Program, onCompiled: () => void): Promise<void> {
    program.preparing ??= this.makeReady(program, onCompiled).catch((error: unknown) => {
      program.preparing = null; // the next run tries again
      throw error;
    });
    return program.preparing;
  }

  private async makeReady(program: Program, onCompiled: () => void): Promise<void> {
    this.mustBeThere();
    const [, compiled] = await Promise.all([
      this.reserveSlots(),
      Promise.all(
        program.traced.steps.map(async ({ step }) => {
          const made = await this.compile(step);
          onCompiled();
          return made;
        }),
      ),
    ]);
    const { bytes } = program.flat;
    const buffers = await this.device.reserve(bytes, `What ${program.name} keeps`, () => this.makeBuffers(program));
    this.mustBeThere(); // compiling takes long enough for a stage to be given up
    program.compiled = compiled;
    program.spare.push(this.bind(program, buffers));
  }

  /** In the way that was chosen, or, where this device's compiler does not take it, the next. */
  private async compile(step: Step): Promise<Compiled> {
    let failure: unknown;
    for (const variant of this.tuner.inOrder(step)) {
      const shader = variant.build();
      try {
        return { shader, pipeline: await this.device.pipeline(shader), flops: step.flops ?? 0 };
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  private async reserveSlots(): Promise<void> {
    this.slots ??= this.device
      .reserve(this.workspace.bytes, 'A stage', () => this.plan.slots.map((bytes, i) => this.create(bytes, `slot ${i}`)))
      .then(
        (slots) => {
          this.slots = slots;
        },
        (error: unknown) => {
          this.slots = null;
          throw error;
        },
      );
    await this.slots;
  }

  // ── recording ─────────────────────────────────────────────────────────────────────────────────

  private create(bytes: number, label: string): GPUBuffer {
    const buffer = this.device.create(bytes, label);
    this.buffers.push(buffer);
    return buffer;
  }

  private makeSet(program: Program): KeptSet {
    return this.bind(program, this.makeBuffers(program));
  }

  private makeBuffers({ flat }: Program): GPUBuffer[] {
    return flat.chunks.map((bytes, i) => this.create(bytes, `kept ${i}`));
  }

  private bind(program: Program, buffers: readonly GPUBuffer[]): KeptSet {
    const home = { flat: program.flat, buffers };
    const recording = program.compiled!.map(({ shader, pipeline, flops }) => this.record(shader, pipeline, home, flops));
    return new KeptSet(program, buffers, recording);
  }

  /** Null, and the set is free again, where it has nothing. */
  private given(set: KeptSet): KeptSet | null {
    if (set.buffers.length > 0) return set;
    this.release(set);
    return null;
  }

  private packing(program: Program, result: string, format: PackedFormat): Packing {
    const key = `${result} ${format}`;
    const known = program.packings.get(key);
    if (known) return known;
    const { words, steps } = packSteps(program.traced.results[result]!, format);
    const recording = steps.map((step) => this.recordAlone(step));
    const place = words.storage.place as { kind: 'buffer'; buffer: GPUBuffer };
    const made = { words: place.buffer, recording };
    program.packings.set(key, made);
    return made;
  }

  /** What it writes gets buffers of its own. */
  private recordAlone(step: Step): Recorded {
    const shader = step.variants[0]!.build();
    for (const { value, write } of shader.bindings) {
      const { storage } = value;
      if (write) storage.place = { kind: 'buffer', buffer: this.create(storage.bytes, step.label) };
    }
    return this.record(shader, this.device.pipelineNow(shader), null);
  }

  private record(shader: Shader, pipeline: GPUComputePipeline, home: Home | null, flops = 0): Recorded {
    const group = this.device.bindGroup(shader, ({ value }) => this.bound(value, home));
    return { flops, pipeline, group, size: shader.groups };
  }

  private bound(value: Value, home: Home | null): Bound {
    const { storage, offset, bytes } = value;
    const { place } = storage;
    if (place.kind === 'buffer') return { buffer: place.buffer, offset, size: bytes };
    if (place.kind === 'temporary') return { buffer: (this.slots as GPUBuffer[])[this.plan.slotOf.get(storage)!]!, offset, size: bytes };
    if (place.kind === 'elsewhere') throw new RangeError('A placeholder has no numbers.');
    const { chunk, offset: start } = home!.flat.places[place.index]!;
    return { buffer: home!.buffers[chunk]!, offset: start + offset, size: bytes };
  }

  // ── submitting ────────────────────────────────────────────────────────────────────────────────

  /** Enqueues the dispatches, and then a copy of `parts`, which the result waits for. */
  private submit(recording: readonly Recorded[], parts: readonly Bound[]): () => Promise<ArrayBuffer[]> {
    const { gpu, speed } = this.device;
    const pieces = cut(recording, speed * SUBMISSION_MS);
    let read = async (): Promise<ArrayBuffer[]> => [];
    for (const [i, piece] of pieces.entries()) {
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (const { pipeline, group, size } of piece) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...size);
      }
      pass.end();
      if (i === pieces.length - 1 && parts.length > 0) read = this.device.readback(encoder, parts);
      gpu.queue.submit([encoder.finish()]);
    }
    return read;
  }
}

/** Consecutive dispatches of about so many FLOP, or less; at least one piece. */
function cut(recording: readonly Recorded[], most: number): Recorded[][] {
  const pieces: Recorded[][] = [[]];
  let sum = 0;
  for (const dispatch of recording) {
    if (sum > 0 && sum + dispatch.flops > most) {
      pieces.push([]);
      sum = 0;
    }
    pieces.at(-1)!.push(dispatch);
    sum += dispatch.flops;
  }
  return pieces;
}

const whole = (buffer: GPUBuffer): Bound => ({ buffer, offset: 0, size: buffer.size });

const valueIn = (buffer: GPUBuffer): Value =>
  new Value([buffer.size / 4], 'float32', { bytes: buffer.size, place: { kind: 'buffer', buffer }, halves: null });
