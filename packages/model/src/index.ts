export { Decoder } from './decoder.ts';
export { flopsOf } from './flops.ts';
export { huggingFaceFiles, type ModelFile, type ModelOrigin } from './hugging-face.ts';
export { initialParameters } from './initial.ts';
export { layoutOf, type ParameterEntry, type ParameterLayout } from './layout.ts';
export { type StageMemory, stageMemory } from './memory.ts';
export { applyAdamW, learningRateAt, normOf, type OptimizerConfig, optimizerNumbers, sumGradients } from './optimizer.ts';
export {
  applyOuter,
  applyUpdate,
  DILOCO,
  innerNumbers,
  innerNumbersOf,
  type OuterConfig,
  SPARSE_LOCO,
  type UpdatedVectors,
} from './outer.ts';
export { type Model, plainModel } from './plain.ts';
export { cutStages, PRESET_NAMES, type Preset, presetOf } from './presets.ts';
export { splitMix32 } from './random.ts';
export { type Sampling, sample } from './sampling.ts';
export { selfTest } from './self-test.ts';
export { type SoloOptions, SoloTrainer, type TokenBatch } from './solo.ts';
export { frozenOf, streamWidth } from './squeeze.ts';
export { type BackwardResult, type Crossed, Stage, type StageGradient } from './stage.ts';
