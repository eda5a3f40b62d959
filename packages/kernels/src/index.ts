export { createKernels, type KernelOptions } from './create.ts';
export type { AttentionShape, Kernels, Tensor } from './kernels.ts';
