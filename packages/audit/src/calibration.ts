/**
 * How far honest results of two backends are apart. A run is rehearsed on one backend; what each stage was given is computed on
 * every backend, and each one's claims are audited by every other: exactly the comparisons of an audit, by the same code.
 */
import { cutStages, presetOf } from '@starling/model';
import { AUDIT_QUANTITIES, type AuditQuantity, type Distance, PRECISIONS, type Precision } from '@starling/protocol';
import { CODECS } from '@starling/reduce';
import { distanceOf } from './compare.ts';
import type { AuditedRun } from './evidence.ts';
import { compareAll } from './judge.ts';
import { type AuditedGradient, GRADIENT_CODECS, type Limits, type Measured, type PrecisionLimits, type Thresholds } from './limits.ts';
import type { ReplayThread } from './node.ts';
import { evidenceOf, Rehearsal, ruledText } from './zoo/index.ts';

export interface CalibrationOptions {
  /** What is rehearsed: preset, boundary, precision, stages, and for how many steps. */
  runs: readonly {
    preset: string;
    boundary: AuditedRun['boundary'];
    precision: Precision;
    stages: number;
    steps: number;
    sequences: number;
    microbatches: number;
  }[];
  /** Rounds of random inputs for single kernels. */
  kernelRounds: number;
  onProgress(line: string): void;
}

/** What one comparison was about. */
type Subject = Pick<Measured, 'boundary' | 'precision' | 'quantity' | 'pair'>;

class Tally {
  private readonly distances = new Map<string, { subject: Subject; cosine: number[]; l2: number[] }>();

  add(subject: Subject, { cosineDistance, relativeL2 }: Distance): void {
    const key = JSON.stringify(subject);
    const known = this.distances.get(key) ?? { subject, cosine: [], l2: [] };
    this.distances.set(key, known);
    known.cosine.push(cosineDistance);
    known.l2.push(relativeL2);
  }

  rows(percentile: number): Measured[] {
    return [...this.distances.values()].map(({ subject, cosine, l2 }) => ({
      ...subject,
      comparisons: l2.length,
      cosineDistance: quantile(cosine, percentile),
      relativeL2: quantile(l2, percentile),
    }));
  }
}

/** The smallest value that at least this share of all is at or under. */
function quantile(values: readonly number[], percentile: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil((percentile / 100) * sorted.length) - 1)]!;
}

const PERCENTILE = 99.99;
/** Backends that are not here (GPUs of all kinds) sum in other orders; the mildest lie of the zoo is a hundred times further off. */
const MARGIN = 10;

/** Measures on all `threads`, and derives the limits. The first thread is the one that rehearses. */
export async function calibrate(
  threads: readonly ReplayThread[],
  options: CalibrationOptions,
): Promise<Omit<Thresholds, 'environment' | 'measured'>> {
  const tally = new Tally();
  for (const run of options.runs) await measureRun(threads, run, tally, options.onProgress);
  const pairs = tally.rows(PERCENTILE);
  const kernels = await measureKernels(threads, options);
  return {
    procedure: `Runs are trained on ruled text (${options.runs.map(({ preset, boundary, precision, steps }) => `${preset} ${boundary}${precision === 'f16' ? ' with f16 products' : ''} × ${steps}`).join(', ')} steps). In every step, what each stage was given is computed on every backend, and each one's results are held against every other's as an audit would.`,
    percentile: PERCENTILE,
    margin: MARGIN,
    precisions: precisionLimitsOf(pairs),
    pairs,
    kernels,
  };
}

/** 1 − cosine goes with the square of an error. */
const most = (rows: readonly Distance[]): Distance => ({
  cosineDistance: MARGIN ** 2 * Math.max(...rows.map(({ cosineDistance }) => cosineDistance)),
  relativeL2: MARGIN * Math.max(...rows.map(({ relativeL2 }) => relativeL2)),
});

/** Where a number is written small it is off by a whole code or not at all, and how often shows in either direction: one limit for both. */
const ALIKE: Record<AuditQuantity, readonly AuditQuantity[]> = {
  activations: ['activations', 'inputGradient'],
  inputGradient: ['activations', 'inputGradient'],
  loss: ['loss'],
  gradient: ['gradient'],
};

/** The limits that follow from what was measured. */
export const precisionLimitsOf = (pairs: readonly Measured[]) =>
  Object.fromEntries(
    PRECISIONS.map((precision): [Precision, PrecisionLimits] => {
      const rows = pairs.filter((row) => row.precision === precision);
      return [precision, { limits: limitsOf(rows), gradients: gradientLimitsOf(rows) }];
    }),
  ) as Thresholds['precisions'];

function limitsOf(pairs: readonly Measured[]): PrecisionLimits['limits'] {
  // A loss is computed from what crossed, however it was written.
  const of = (boundary: AuditedRun['boundary'], quantity: AuditQuantity) =>
    most(pairs.filter((row) => (quantity === 'loss' || row.boundary === boundary) && ALIKE[quantity].includes(row.quantity)));
  const each = (boundary: AuditedRun['boundary']) =>
    Object.fromEntries(AUDIT_QUANTITIES.map((quantity) => [quantity, of(boundary, quantity)])) as Limits;
  return { f32: each('f32'), f16: each('f16'), int8: each('int8'), int4: each('int4') };
}

const gradientLimitsOf = (pairs: readonly Measured[]) =>
  Object.fromEntries(
    GRADIENT_CODECS.map((codec) => [codec, most(pairs.filter(({ boundary }) => boundary === `gradient ${codec}`))]),
  ) as Record<AuditedGradient, Distance>;

async function measureRun(
  threads: readonly ReplayThread[],
  { preset, boundary, precision, stages, steps, sequences, microbatches }: CalibrationOptions['runs'][number],
  tally: Tally,
  onProgress: (line: string) => void,
): Promise<void> {
  const { shape, optimizer } = presetOf(preset);
  const run: AuditedRun = { model: shape, stages: cutStages(shape, stages), sequences, boundary, precision, gradient: 'f32' };
  const text = (cursor: number) => ruledText(sequences * shape.context, cursor);
  const rehearsal = new Rehearsal({ run, seed: 3, optimizer, microbatchesPerStep: microbatches, text }, (of, work) =>
    threads[0]!.replay(of, work),
  );
  for (let step = 0; step < steps; step++) {
    for (const work of await rehearsal.step()) {
      const replays = await Promise.all(threads.map((thread) => thread.replay(run, work)));
      for (const [i, claimed] of replays.entries()) {
        const evidence = await evidenceOf(work, claimed);
        for (const [j, replayed] of replays.entries()) {
          const pair = `${threads[i]!.backend} → ${threads[j]!.backend}`;
          for (const { quantity, distance } of compareAll(run, evidence, replayed))
            tally.add({ boundary, precision, quantity, pair }, distance);
          for (const codec of GRADIENT_CODECS) {
            const written = [claimed, replayed].map(({ gradient }) =>
              CODECS[codec].decode(CODECS[codec].encode(gradient!), gradient!.length),
            );
            tally.add({ boundary: `gradient ${codec}`, precision, quantity: 'gradient', pair }, distanceOf(written[0]!, written[1]!));
          }
        }
      }
    }
    onProgress(`${preset} ${boundary} in ${precision}: step ${step + 1} of ${steps}, loss ${rehearsal.loss.toFixed(3)}`);
  }
}

async function measureKernels(threads: readonly ReplayThread[], { kernelRounds }: CalibrationOptions): Promise<Thresholds['kernels']> {
  const { shape, sequences } = presetOf('nano');
  const found = new Map<string, { kernel: string; pair: string; comparisons: number; relativeL2: number }>();
  for (let seed = 1; seed <= kernelRounds; seed++) {
    const outputs = await Promise.all(threads.map((thread) => thread.kernels(shape, sequences, seed)));
    for (const [i, claimed] of outputs.entries()) {
      for (const [j, again] of outputs.entries()) {
        if (i === j) continue;
        for (const [kernel, values] of Object.entries(claimed)) {
          const pair = `${threads[i]!.backend} → ${threads[j]!.backend}`;
          const known = found.get(`${kernel} ${pair}`) ?? { kernel, pair, comparisons: 0, relativeL2: 0 };
          known.comparisons += 1;
          known.relativeL2 = Math.max(known.relativeL2, distanceOf(values, again[kernel]!).relativeL2);
          found.set(`${kernel} ${pair}`, known);
        }
      }
    }
  }
  return [...found.values()];
}
