export { LIMITS } from './constants.ts';
export { Coordinator, type StageStatus } from './coordinator.ts';
export type { Flow } from './flow.ts';
export { brokenInvariant } from './invariants.ts';
export type { MinerRecord } from './miner.ts';
export type { Snapshot } from './snapshot.ts';
export type { StageRecord } from './stage.ts';
export type { LeaseRecord } from './state.ts';
export type * from './types.ts';
