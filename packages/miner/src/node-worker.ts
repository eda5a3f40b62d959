import { parentPort, workerData } from 'node:worker_threads';
import type { NodeMinerMessage, NodeMinerOptions } from './node.ts';
import { nodeMiner } from './node-host.ts';

const post = (message: NodeMinerMessage) => parentPort!.postMessage(message);
const miner = nodeMiner(workerData as NodeMinerOptions);
miner.onState((state) => post({ type: 'state', state }));
parentPort!.once('message', async () => {
  await miner.stop('The operator stopped it.');
  post({ type: 'stopped' });
});
await miner.start().catch(() => {}); // the state says why
