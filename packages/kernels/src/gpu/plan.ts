/** Which buffer every temporary value lies in, decided before anything runs: those that are not needed at the same time share one. */
import type { AttentionShape, Definition, Precision, VariableKind } from '../kernels.ts';
import type { Shader, Step } from './shader.ts';
import { Tracer } from './tracer.ts';
import { bytesEach, type HalfFormat, type Storage, temporary, Value } from './value.ts';

/** A definition, written down. */
export interface Traced {
  inputs: Record<string, Value>;
  results: Record<string, Value>;
  kept: readonly Value[];
  /** Those whose outcome somebody needs. */
  steps: readonly TracedStep[];
}

export interface TracedStep {
  step: Step;
  /** The first variant, which tells what all of them bind. */
  shader: Shader;
}

/** `halves`: how values lie that are only ever read rounded to halves, which they then are when they are written; null: nothing is rounded. */
export function trace({ inputs: shapes, body }: Definition, anglesOf: (shape: AttentionShape) => Value, halves: HalfFormat | null): Traced {
  const tracer = new Tracer(anglesOf, halves ? 'f16' : 'f32');
  const inputs = Object.fromEntries(Object.entries(shapes).map(([name, { shape, dtype }]) => [name, temporary(shape, dtype)]));
  const { results, kept = [] } = body(tracer, inputs) as { results: Record<string, Value>; kept?: readonly Value[] };
  for (const [index, value] of kept.entries()) value.storage.place = { kind: 'kept', index };
  const needed = new Set<Storage>([...Object.values(results), ...kept].map(({ storage }) => storage));
  const steps: TracedStep[] = [];
  for (const step of tracer.steps.toReversed()) {
    const shader = step.variants[0]!.build();
    if (!shader.bindings.some(({ value, write }) => write && needed.has(value.storage))) continue;
    for (const { value } of shader.bindings) needed.add(value.storage);
    steps.push({ step, shader });
  }
  if (halves) halve(steps, [...Object.values(inputs), ...Object.values(results)], halves);
  return { inputs, results, kept, steps: steps.reverse() };
}

/** From here on the temporary storages that may lie as halves do, but for those of `whole`, which come from the host or go there. */
export function halve(steps: readonly TracedStep[], whole: readonly Value[], halves: HalfFormat): void {
  const bindings = steps.flatMap(({ shader }) => shader.bindings);
  const others = new Set(
    [...whole, ...bindings.filter(({ halvable }) => !halvable).map(({ value }) => value)].map(({ storage }) => storage),
  );
  for (const storage of new Set(bindings.map(({ value }) => value.storage))) {
    if (storage.place.kind !== 'temporary' || others.has(storage)) continue;
    storage.halves = halves;
    storage.bytes /= 2;
  }
}

/** Bindings, and so values, begin at multiples of this: WebGPU's own limit, which every device allows. */
export const ALIGNMENT = 256;
export const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

export interface Plan {
  /** Bytes of each buffer. */
  slots: readonly number[];
  slotOf: ReadonlyMap<Storage, number>;
  /** The most that is needed at one moment of any program: what no plan could do with less. */
  peak: number;
}

/** Programs run one at a time, so they share the buffers. */
export function plan(programs: readonly Traced[]): Plan {
  const slots: number[] = [];
  const slotOf = new Map<Storage, number>();
  let peak = 0;
  const lifetimes = programs.map(lifetimesOf);
  const demand = (lives: Life[]) => lives.reduce((sum, { storage }) => sum + storage.bytes, 0);
  // The most demanding first: the others find its buffers.
  for (const lives of lifetimes.toSorted((a, b) => demand(b) - demand(a))) {
    const free = new Set(slots.keys());
    const last = Math.max(0, ...lives.map(({ to }) => to));
    let held = 0;
    for (let at = -1; at <= last; at++) {
      for (const { storage } of lives.filter(({ from }) => from === at).sort((a, b) => b.storage.bytes - a.storage.bytes)) {
        const slot = fitting(storage.bytes, free, slots);
        free.delete(slot);
        slots[slot] = Math.max(slots[slot] ?? 0, aligned(storage.bytes));
        slotOf.set(storage, slot);
        held += aligned(storage.bytes);
      }
      peak = Math.max(peak, held);
      for (const { storage } of lives.filter(({ to }) => to === at)) {
        free.add(slotOf.get(storage)!);
        held -= aligned(storage.bytes);
      }
    }
  }
  return { slots, slotOf, peak };
}

/** Stands for a tensor that is on the device already, where nothing is computed. */
export function placeholder(shape: readonly number[]): Value {
  const { size } = temporary(shape);
  return new Value(shape, 'float32', { bytes: 4 * size, place: { kind: 'elsewhere' }, halves: null });
}

/** Bytes that these programs will hold on a WebGPU device besides variables and what is kept. */
export function plannedBytes(definitions: Readonly<Record<string, Definition>>, precision: Precision): number {
  const anglesOf = ({ context, headWidth }: AttentionShape) => placeholder([context, headWidth]);
  const traced = Object.values(definitions).map((definition) => trace(definition, anglesOf, precision === 'f16' ? 'packed' : null));
  return plan(traced).slots.reduce((sum, bytes) => sum + bytes, 0);
}

/** From the first step that touches it (−1: before them) to the last, both included. */
interface Life {
  storage: Storage;
  from: number;
  to: number;
}

function lifetimesOf({ inputs, results, steps }: Traced): Life[] {
  const lives = new Map<Storage, Life>();
  const touch = ({ storage }: Value, at: number) => {
    if (storage.place.kind !== 'temporary') return;
    const life = lives.get(storage) ?? { storage, from: at, to: at };
    life.to = Math.max(life.to, at);
    lives.set(storage, life);
  };
  for (const value of Object.values(inputs)) touch(value, -1);
  for (const [at, { shader }] of steps.entries()) for (const { value } of shader.bindings) touch(value, at);
  for (const value of Object.values(results)) touch(value, steps.length);
  return [...lives.values()];
}

/** The smallest free buffer that is large enough, else the largest free one, which grows, else a new one. */
function fitting(bytes: number, free: ReadonlySet<number>, slots: readonly number[]): number {
  const enough = [...free].filter((slot) => slots[slot]! >= bytes).sort((a, b) => slots[a]! - slots[b]!);
  if (enough.length > 0) return enough[0]!;
  const largest = [...free].sort((a, b) => slots[b]! - slots[a]!);
  return largest[0] ?? slots.length;
}

/** Halves for what only products read, where their rows come in fours. */
export const variableFormat = ({ shape, isOperand }: VariableKind, halves: HalfFormat | null): HalfFormat | null =>
  isOperand && shape.at(-1)! % 4 === 0 ? halves : null;

/** Bytes that this variable takes on a WebGPU device. */
export const variableBytes = (kind: VariableKind, precision: Precision): number =>
  bytesEach(variableFormat(kind, precision === 'f16' ? 'packed' : null)) * temporary(kind.shape).size;

/** Where values that are kept, or written together, lie one after the other: in as few buffers as the device's largest allows. */
export interface Flat {
  /** Bytes of each buffer. */
  chunks: readonly number[];
  places: readonly { chunk: number; offset: number; bytes: number }[];
  bytes: number;
}

/** `sizes` and `largest` in bytes. */
export function flatOf(sizes: readonly number[], largest: number): Flat {
  const chunks: number[] = [];
  const places = sizes.map((bytes) => {
    if (chunks.length === 0 || chunks.at(-1)! + aligned(bytes) > largest) chunks.push(0);
    const chunk = chunks.length - 1;
    const offset = chunks[chunk]!;
    chunks[chunk] = offset + aligned(bytes);
    return { chunk, offset, bytes };
  });
  return { chunks, places, bytes: chunks.reduce((sum, bytes) => sum + bytes, 0) };
}
