/**
 * Chooses among the ways to compute a step: what was measured on this adapter, at first start or before, else what suits its kind. Measured
 * are the largest steps first, within a budget; a variant whose numbers are not those of the first cannot win.
 */
import type { Device } from './device.ts';
import type { Shader, Step, Variant } from './shader.ts';
import type { Storage } from './value.ts';

/** What was measured before, by adapter and step: the name of the quickest variant. */
export interface TuningStore {
  get(adapter: string): Promise<Record<string, string> | null>;
  set(adapter: string, choices: Record<string, string>): Promise<void>;
}

export interface TuningOptions {
  store: TuningStore;
  /** Ms for all measurements of one start. */
  budgetMs: number;
  /** Also on a software adapter, where compiling costs more than a better variant wins in a short time. */
  software?: boolean;
}

/** Long enough that starting and reading back weigh little. */
const MEASURED_MS = 12;
const MOST_ROUNDS = 64;
/** Relative L2 from the first variant: sums in float32 in the same order, contracted otherwise. */
const TOLERANCE = 1e-4;

export class Tuner {
  private readonly device: Device;
  private readonly options: TuningOptions | null;
  private choices: Record<string, string> = {};
  private loaded: Promise<void> | null = null;

  /** `options` null: nothing is measured. */
  constructor(device: Device, options: TuningOptions | null) {
    this.device = device;
    this.options = options;
  }

  choose(step: Step): Variant {
    const variants = this.possible(step);
    const chosen = this.choices[step.label] ?? this.likeliest(step.label);
    const suited: readonly Variant['kind'][] = this.device.isSoftware ? ['quad', 'own'] : ['shared', 'own'];
    return (
      variants.find(({ name }) => name === chosen) ??
      suited.map((wanted) => variants.find(({ kind }) => kind === wanted)).find((variant) => variant !== undefined) ??
      variants[0]!
    );
  }

  private possible({ variants }: Step): Variant[] {
    return variants.filter(({ kind }) => kind !== 'quad' || this.device.hasSubgroups);
  }

  /** Measures what is not known yet. */
  async tune(steps: readonly Step[]): Promise<void> {
    if (!this.options || (this.device.isSoftware && !this.options.software)) return;
    this.loaded ??= this.load(this.options.store);
    await this.loaded;
    const counts = new Map<string, { step: Step; cost: number }>();
    for (const step of steps) {
      const known = counts.get(step.label) ?? { step, cost: 0 };
      known.cost += bytesOf(step.variants[0]!.build());
      counts.set(step.label, known);
    }
    const open = [...counts.values()].filter(({ step }) => step.variants.length > 1 && !this.choices[step.label]);
    const deadline = performance.now() + this.options.budgetMs;
    let measured = false;
    for (const { step } of open.sort((a, b) => b.cost - a.cost)) {
      if (performance.now() >= deadline) break;
      this.choices[step.label] = await this.quickest(step, deadline);
      measured = true;
    }
    if (measured) await this.options.store.set(this.device.name, this.choices).catch(() => {}); // it is measured again another time
  }

  private async load(store: TuningStore): Promise<void> {
    this.choices = (await store.get(this.device.name).catch(() => null)) ?? {};
  }

  /** What won most often at steps of the same operation. */
  private likeliest(label: string): string | undefined {
    const operation = (text: string) => text.replaceAll(/\d+[×+|]?/g, '');
    const wins = new Map<string, number>();
    for (const [known, name] of Object.entries(this.choices))
      if (operation(known) === operation(label)) wins.set(name, (wins.get(name) ?? 0) + 1);
    return [...wins].sort((a, b) => b[1] - a[1])[0]?.[0];
  }

  private async quickest(step: Step, deadline: number): Promise<string> {
    const { gpu } = this.device;
    const first = step.variants[0]!.build();
    // Two buffers for each that is written, so that a variant's numbers can be held against the first's.
    const buffers = new Map<Storage, GPUBuffer>();
    for (const { value } of first.bindings) {
      const { storage } = value;
      if (buffers.has(storage)) continue;
      const buffer = this.device.create(storage.bytes, 'tuning');
      buffers.set(storage, buffer);
      if (value.dtype === 'float32') gpu.queue.writeBuffer(buffer, 0, noise(storage.bytes / 4));
    }
    try {
      let best = { name: step.variants[0]!.name, ms: Number.POSITIVE_INFINITY };
      let reference: Float32Array[] | null = null;
      for (const variant of this.possible(step)) {
        if (reference && performance.now() >= deadline) break;
        gpu.pushErrorScope('validation');
        const shader = variant.build();
        const pipeline = await this.device.pipeline(shader).catch(() => null);
        if ((await gpu.popErrorScope()) || !pipeline) continue;
        const group = this.device.bindGroup(shader, ({ value }) => ({
          buffer: buffers.get(value.storage)!,
          offset: value.offset,
          size: value.bytes,
        }));
        const run = async (rounds: number) => {
          const encoder = gpu.createCommandEncoder();
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          for (let i = 0; i < rounds; i++) pass.dispatchWorkgroups(...shader.groups);
          pass.end();
          const started = performance.now();
          gpu.queue.submit([encoder.finish()]);
          await gpu.queue.onSubmittedWorkDone();
          return performance.now() - started;
        };
        this.refill(first, buffers);
        const once = await run(1);
        const numbers = await this.outputs(first, buffers);
        if (reference && !numbers.every((values, i) => isClose(values, reference![i]!))) continue;
        reference ??= numbers;
        const rounds = Math.min(MOST_ROUNDS, Math.ceil(MEASURED_MS / Math.max(once, 0.1)));
        const ms = Math.min((await run(rounds)) / rounds, (await run(rounds)) / rounds);
        if (ms < best.ms) best = { name: variant.name, ms };
      }
      return best.name;
    } finally {
      for (const buffer of buffers.values()) this.device.destroy(buffer);
    }
  }

  /** What is computed in place starts from the same numbers each time. */
  private refill({ bindings }: Shader, buffers: ReadonlyMap<Storage, GPUBuffer>): void {
    for (const { value, write } of bindings) {
      const buffer = buffers.get(value.storage)!;
      if (write && value.dtype === 'float32') this.device.gpu.queue.writeBuffer(buffer, 0, noise(value.storage.bytes / 4));
    }
  }

  private async outputs({ bindings }: Shader, buffers: ReadonlyMap<Storage, GPUBuffer>): Promise<Float32Array[]> {
    const encoder = this.device.gpu.createCommandEncoder();
    const written = bindings.filter(({ write }) => write);
    const read = this.device.readback(
      encoder,
      written.map(({ value }) => ({ buffer: buffers.get(value.storage)!, offset: value.offset, size: value.bytes })),
    );
    this.device.gpu.queue.submit([encoder.finish()]);
    return (await read()).map((copy) => new Float32Array(copy));
  }
}

/** How much there is to do: what a step reads and writes tells it well enough to order steps by. */
const bytesOf = ({ bindings }: Shader) => bindings.reduce((sum, { value }) => sum + value.bytes, 0);

/** Uniform in [−½, ½), always the same. */
function noise(size: number): Float32Array<ArrayBuffer> {
  let state = 1;
  return Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

function isClose(values: Float32Array, reference: Float32Array): boolean {
  let [difference, size] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    difference += (values[i]! - reference[i]!) ** 2;
    size += reference[i]! ** 2;
  }
  return difference <= TOLERANCE ** 2 * size + 1e-12;
}
