export { flopsOf } from './flops.ts';
export { initialParameters } from './initial.ts';
export { layoutOf, type ParameterEntry, type ParameterLayout } from './layout.ts';
export { applyAdamW, learningRateAt, normOf, type OptimizerConfig, optimizerNumbers, sumGradients } from './optimizer.ts';
export { cutStages, type Preset, presetOf } from './presets.ts';
export { type SoloOptions, SoloTrainer, type TokenBatch } from './solo.ts';
export { type BackwardResult, Stage, type StageGradient } from './stage.ts';
