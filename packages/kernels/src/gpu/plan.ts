/** Which buffer every temporary value lies in, decided before anything runs: those that are not needed at the same time share one. */
import type { AttentionShape, Definition } from '../kernels.ts';
import type { Shader, Step } from './shader.ts';
import { Tracer } from './tracer.ts';
import { type Storage, temporary, Value } from './value.ts';

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

export function trace({ inputs: shapes, body }: Definition, anglesOf: (shape: AttentionShape) => Value): Traced {
  const tracer = new Tracer(anglesOf);
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
  return { inputs, results, kept, steps: steps.reverse() };
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
  return new Value(shape, 'float32', { bytes: 4 * size, place: { kind: 'elsewhere' } });
}

/** Bytes that these programs will hold on a WebGPU device besides variables and what is kept. */
export function plannedBytes(definitions: Readonly<Record<string, Definition>>): number {
  const traced = Object.values(definitions).map((definition) =>
    trace(definition, ({ context, headWidth }) => placeholder([context, headWidth])),
  );
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

/** Where values that are kept, or written together, lie one after the other: in as few buffers as the device's largest allows. */
export interface Flat {
  /** Bytes of each buffer. */
  chunks: readonly number[];
  places: readonly { chunk: number; offset: number; bytes: number }[];
  bytes: number;
}

export function flatOf(sizes: readonly number[], largest: number): Flat {
  const chunks: number[] = [];
  const places = sizes.map((size) => {
    const bytes = 4 * size;
    if (chunks.length === 0 || chunks.at(-1)! + aligned(bytes) > largest) chunks.push(0);
    const chunk = chunks.length - 1;
    const offset = chunks[chunk]!;
    chunks[chunk] = offset + aligned(bytes);
    return { chunk, offset, bytes };
  });
  return { chunks, places, bytes: chunks.reduce((sum, bytes) => sum + bytes, 0) };
}
