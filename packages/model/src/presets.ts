/** Model sizes by name, with the batch and the optimizer that suit them, and how a model is cut into stages. */
import { type ModelShape, type StageSpec, SwarmError } from '@starling/protocol';
import type { OptimizerConfig } from './optimizer.ts';

export interface Preset {
  name: string;
  shape: ModelShape;
  /** Sequences in one microbatch. */
  sequences: number;
  microbatchesPerStep: number;
  optimizer: OptimizerConfig;
}

/** nanoGPT's character-level settings, which these byte-level presets are compared with. */
const OPTIMIZER: OptimizerConfig = {
  peakLearningRate: 1e-3,
  minimumLearningRate: 1e-4,
  warmupSteps: 100,
  decaySteps: 2000,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clipNorm: 1,
};

const PRESETS: readonly Preset[] = [
  {
    // For what is about messages and not about numbers: a boundary tensor of one sequence is one KiB.
    name: 'pico',
    shape: { vocabulary: 256, width: 16, layers: 4, heads: 2, keyValueHeads: 1, hidden: 32, context: 16 },
    sequences: 1,
    microbatchesPerStep: 8,
    optimizer: OPTIMIZER,
  },
  {
    name: 'nano',
    shape: { vocabulary: 256, width: 64, layers: 6, heads: 4, keyValueHeads: 2, hidden: 176, context: 64 },
    sequences: 4,
    microbatchesPerStep: 6,
    // A small model learns fastest with a large rate. With ten steps of warm-up single steps go astray, and where a run ends is chance (docs/convergence.md).
    optimizer: { ...OPTIMIZER, peakLearningRate: 4e-3, minimumLearningRate: 4e-4, warmupSteps: 40 },
  },
  {
    name: 'shakespeare',
    shape: { vocabulary: 256, width: 128, layers: 4, heads: 4, keyValueHeads: 4, hidden: 352, context: 64 },
    sequences: 12,
    microbatchesPerStep: 4,
    // Twice nanoGPT's rate: SwiGLU and RMSNorm bear it, and it is the better one by far at this budget (docs/convergence.md).
    optimizer: { ...OPTIMIZER, peakLearningRate: 2e-3, minimumLearningRate: 2e-4 },
  },
  {
    // nanoGPT's published run on a GPU, without its dropout.
    name: 'mini',
    shape: { vocabulary: 256, width: 384, layers: 6, heads: 6, keyValueHeads: 6, hidden: 1024, context: 256 },
    sequences: 4,
    microbatchesPerStep: 16,
    optimizer: { ...OPTIMIZER, decaySteps: 5000 },
  },
];

export const PRESET_NAMES: readonly string[] = PRESETS.map(({ name }) => name);

/** Throws `CONFIG_INVALID` with the names there are. */
export function presetOf(name: string): Preset {
  const preset = PRESETS.find((candidate) => candidate.name === name);
  if (!preset) throw new SwarmError('CONFIG_INVALID', `There is no preset "${name}"; choose ${PRESET_NAMES.join(' or ')}.`);
  return preset;
}

/** Consecutive layers, as evenly as they go, the larger shares first. Throws `CONFIG_INVALID`. */
export function cutStages(shape: ModelShape, stages: number): StageSpec[] {
  if (!Number.isInteger(stages) || stages < 1 || stages > shape.layers) {
    throw new SwarmError('CONFIG_INVALID', `A model of ${shape.layers} layers can be cut into 1 to ${shape.layers} stages, not ${stages}.`);
  }
  const share = Math.floor(shape.layers / stages);
  const larger = shape.layers % stages;
  return Array.from({ length: stages }, (_, index) => ({
    index,
    firstLayer: index * share + Math.min(index, larger),
    layers: share + (index < larger ? 1 : 0),
    isFirst: index === 0,
    isLast: index === stages - 1,
  }));
}
