export * from './chain.ts';
export { commitHash, type Revealed } from './commit-hash.ts';
export { type DevConfig, type DevOptions, devConfig } from './dev/config.ts';
export { DevChain, type DevChainPorts, type DevClock } from './dev/dev-chain.ts';
export { weightsFromScores } from './emitted-weights.ts';
export * from './identity/index.ts';
export { ChainRefusal, REFUSALS, type Refusal } from './refusals.ts';
export { SubtensorChain, type SubtensorOptions } from './subtensor/subtensor-chain.ts';
export * from './yuma/index.ts';
