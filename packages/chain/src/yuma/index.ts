export { runEpoch } from './epoch.ts';
export { EMPTY_ROW, type SparseRow } from './sparse.ts';
export { activityCutoff, stakeWeight } from './stake.ts';
export * from './types.ts';
export { isMaxLimited, upscaleToU16 } from './weights.ts';
