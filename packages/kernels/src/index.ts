export { createKernels, type KernelOptions } from './create.ts';
export { placeholder, plannedBytes, variableBytes } from './gpu/plan.ts';
export type { TuningOptions, TuningStore } from './gpu/tuner.ts';
export type {
  AttentionShape,
  Definition,
  Kept,
  Kernels,
  Operations,
  PackedFormat,
  Precision,
  Programs,
  StepTime,
  Tensor,
  TokenRows,
  VariableKind,
  Variables,
} from './kernels.ts';
export { sortTokens } from './tables.ts';
