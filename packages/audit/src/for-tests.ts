/** For tests only: a tiny run on text that can be learned, and who computes it. */
import { createKernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import { cutStages, presetOf } from '@starling/model';
import type { AuditedRun } from './evidence.ts';
import type { Limits } from './limits.ts';
import { Replayer } from './replay.ts';
import { type Compute, Rehearsal, ruledText } from './zoo/index.ts';

const { shape, sequences, optimizer } = presetOf('pico');

export const RUN: AuditedRun = { model: shape, stages: cutStages(shape, 3), sequences, boundary: 'f32', gradient: 'f32' };

/** Far above float32 rounding, far below any lie: for tests of the machinery, not of the thresholds. */
const one = { cosineDistance: 1e-7, relativeL2: 1e-4 };
export const LIMITS: Limits = { activations: one, inputGradient: one, loss: one, gradient: one };

const text = (cursor: number) => ruledText(sequences * shape.context, cursor);

/** Computes on tfjs's wasm or cpu backend, as one process: the last one made is the one in use. */
export async function replayerOn(backend: 'wasm' | 'cpu', run: AuditedRun = RUN): Promise<Replayer> {
  return new Replayer(await createKernels({ backend, wasmPaths: nodeWasmPath() }), run);
}

export const rehearsalOf = (compute: Compute, run: AuditedRun = RUN, microbatchesPerStep = 4): Rehearsal =>
  new Rehearsal({ run, seed: 3, optimizer, microbatchesPerStep, text }, compute);
