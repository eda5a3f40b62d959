/**
 * Chooses among the ways to compute a step: what was measured on this adapter, at first start or before, else what suits its kind. Measured
 * are the largest steps first, within a budget; a variant whose numbers are not those of the first cannot win.
 */
import { asHalves, fromHalves } from '../halves.ts';
import type { Device } from './device.ts';
import type { Step, Variant } from './shader.ts';
import type { HalfFormat, Storage, Value } from './value.ts';

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
const MOST_ROUNDS = 256;
/** Relative L2 from the first variant: sums in float32 in the same order, contracted otherwise. */
const TOLERANCE = 1e-4;
/** Of what is kept: results of another make of variants are no use. */
const VERSION = 1;
/** Marks a variant that was begun and not ended: it took the device with it. */
const TRYING = 'trying ';

export class Tuner {
  private readonly device: Device;
  private readonly options: TuningOptions | null;
  private readonly halves: HalfFormat | null;
  /** By step the variant that won; and by `TRYING` and step, one that is never tried again. */
  private choices: Record<string, string> = {};
  private loaded: Promise<void> | null = null;
  private deadline: number | null = null;

  /** `options` null: nothing is measured. `halves`: how operands lie. */
  constructor(device: Device, options: TuningOptions | null, halves: HalfFormat | null = null) {
    this.device = device;
    this.halves = halves;
    this.options = options;
  }

  choose(step: Step): Variant {
    return this.inOrder(step)[0]!;
  }

  /** All that this device may take, the one to take first. */
  inOrder({ label, variants }: Step): Variant[] {
    const chosen = this.choices[label] ?? this.likeliest(label);
    const suited: readonly Variant['kind'][] = this.device.isSoftware ? ['quad', 'own', 'shared'] : ['shared', 'own', 'quad'];
    const rank = ({ name, kind }: Variant) => (name === chosen ? -1 : suited.indexOf(kind));
    return variants
      .filter(({ name, kind }) => (kind !== 'quad' || this.device.hasSubgroups) && this.choices[TRYING + label] !== name)
      .sort((a, b) => rank(a) - rank(b));
  }

  /** Measures what is not known yet. */
  async tune(steps: readonly Step[]): Promise<void> {
    if (!this.options || (this.device.isSoftware && !this.options.software)) return;
    const { store, budgetMs } = this.options;
    this.loaded ??= this.load(store);
    await this.loaded;
    this.deadline ??= performance.now() + budgetMs;
    const costs = new Map<string, { step: Step; cost: number }>();
    for (const step of steps) {
      const known = costs.get(step.label) ?? { step, cost: 0 };
      known.cost += step.flops ?? 0;
      costs.set(step.label, known);
    }
    const open = [...costs.values()].filter(({ step }) => step.variants.length > 1 && !this.choices[step.label]);
    for (const { step } of open.sort((a, b) => b.cost - a.cost)) {
      if (performance.now() >= this.deadline) break;
      const won = await this.quickest(step, this.deadline);
      // A contest that was not finished says nothing; what was begun last is not to be held against its variant.
      if (won !== null) this.choices[step.label] = won;
      await this.save();
      if (won === null) break;
    }
  }

  private get key(): string {
    return [this.device.name, VERSION, ...(this.halves ? [this.halves] : [])].join(', ');
  }

  private async load(store: TuningStore): Promise<void> {
    this.choices = (await store.get(this.key).catch(() => null)) ?? {};
  }

  /** Where it cannot be kept, it is measured again another time. */
  private async save(): Promise<void> {
    await this.options!.store.set(this.key, this.choices).catch(() => {});
  }

  /** What won most often at steps of the same operation. */
  private likeliest(label: string): string | undefined {
    const operation = (text: string) => text.replaceAll(/\d+[×+|]?/g, '');
    const wins = new Map<string, number>();
    for (const [known, name] of Object.entries(this.choices))
      if (operation(known) === operation(label)) wins.set(name, (wins.get(name) ?? 0) + 1);
    return [...wins].sort((a, b) => b[1] - a[1])[0]?.[0];
  }

  /** The name of the variant that won; null when time ran out before all had their turn. */
  private async quickest(step: Step, deadline: number): Promise<string | null> {
    const { gpu } = this.device;
    const variants = [step.variants[0]!, ...this.inOrder(step).filter((variant) => variant !== step.variants[0])];
    // All variants bind the same values: by storage and offset, in the order of the first's.
    const storages = new Map<Storage, number>();
    const keyOf = ({ storage, offset }: Value) => {
      if (!storages.has(storage)) storages.set(storage, storages.size);
      return `${storages.get(storage)} ${offset}`;
    };
    const buffers = new Map<string, { buffer: GPUBuffer; value: Value }>();
    const first = variants[0]!.build();
    for (const { value } of first.bindings) {
      if (!buffers.has(keyOf(value))) buffers.set(keyOf(value), { buffer: this.device.create(value.bytes, 'tuning'), value });
    }
    const written = [...new Set(first.bindings.filter(({ write }) => write).map(({ value }) => keyOf(value)))].map(
      (key) => buffers.get(key)!,
    );
    const fill = () => {
      for (const { buffer, value } of buffers.values())
        if (value.dtype === 'float32') {
          const numbers = value.storage.halves ? HALF_NOISE : NOISE;
          for (let at = 0; at < value.bytes; at += numbers.byteLength)
            gpu.queue.writeBuffer(buffer, at, numbers, 0, Math.min(numbers.length, (value.bytes - at) / numbers.BYTES_PER_ELEMENT));
        }
    };
    try {
      let best = { name: '', ms: Number.POSITIVE_INFINITY };
      let reference: Float32Array[] | null = null;
      for (const variant of variants) {
        if (reference && performance.now() >= deadline) return null;
        const shader = variant.build();
        const pipeline = await this.device.pipeline(shader).catch(() => null);
        if (!pipeline) continue;
        const group = this.device.bindGroup(shader, ({ value }) => {
          const { buffer } = buffers.get(keyOf(value))!;
          return { buffer, offset: 0, size: value.bytes };
        });
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
        this.choices[TRYING + step.label] = variant.name;
        await this.save();
        fill(); // what is computed in place starts from the same numbers each time
        await run(1);
        const numbers = await this.outputs(written);
        delete this.choices[TRYING + step.label];
        if (reference && !numbers.every((values, i) => isClose(values, reference![i]!))) continue;
        reference ??= numbers;
        const idle = await run(0);
        const once = Math.max(0.05, (await run(1)) - idle);
        const rounds = Math.max(1, Math.min(MOST_ROUNDS, Math.ceil(MEASURED_MS / once)));
        const ms = (Math.min(await run(rounds), await run(rounds)) - idle) / rounds;
        if (ms < best.ms) best = { name: variant.name, ms };
      }
      return best.name;
    } finally {
      for (const { buffer } of buffers.values()) this.device.destroy(buffer);
    }
  }

  private async outputs(written: readonly { buffer: GPUBuffer; value: Value }[]): Promise<Float32Array[]> {
    const encoder = this.device.gpu.createCommandEncoder();
    const read = this.device.readback(
      encoder,
      written.map(({ buffer }) => ({ buffer, offset: 0, size: buffer.size })),
    );
    this.device.gpu.queue.submit([encoder.finish()]);
    return (await read()).map((copy, i) => (written[i]!.value.storage.halves ? fromHalves(new Uint16Array(copy)) : new Float32Array(copy)));
  }
}

/** Uniform in [−½, ½), always the same: as much as is written at once. */
const NOISE = noise(2 ** 16);

const HALF_NOISE = asHalves(NOISE);

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
