/** For tests of what uses a chain: a node with a real runtime's metadata, and keys that everybody knows. */
export { key } from './dev/for-tests.ts';
export { signed } from './dev/signed-call.ts';
export { fillSubnet, findMetadata, GENESIS, NETUID, TestNode } from './subtensor/node-for-tests.ts';
