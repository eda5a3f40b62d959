export { createKernels, type KernelOptions } from './create.ts';
export { placeholder, plannedBytes } from './gpu/plan.ts';
export type { TuningOptions, TuningStore } from './gpu/tuner.ts';
export type {
  AttentionShape,
  Definition,
  Kept,
  Kernels,
  Operations,
  PackedFormat,
  Programs,
  StepTime,
  Tensor,
  TokenRows,
  Variables,
} from './kernels.ts';
export { sortTokens } from './tables.ts';
