export { createKernels, type KernelOptions } from './create.ts';
export type { AttentionShape, Kernels, PackedFormat, Tensor } from './kernels.ts';
