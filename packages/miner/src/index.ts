export { Miner, type MinerOptions, type MinerPorts } from './miner.ts';
export type { MinerState } from './state.ts';
