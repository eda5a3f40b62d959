export { LIMITS } from './constants.ts';
export { Coordinator } from './coordinator.ts';
export type { Flow } from './flow.ts';
export type { MinerRecord } from './miner.ts';
export type { StageRecord } from './stage.ts';
export type * from './types.ts';
