import { parentPort, workerData } from 'node:worker_threads';
import { explain } from '@starling/protocol';
import type { NodeMinerMessage, NodeMinerOptions, NodeMinerOrder } from './node.ts';
import { nodeMiner } from './node-host.ts';

const post = (message: NodeMinerMessage) => parentPort!.postMessage(message);
const PAUSED = { ...explain({ code: 'PAUSED', message: 'The operator paused it.' }), since: 0, until: null };
const miner = nodeMiner(workerData as NodeMinerOptions);
miner.onState((state) => post({ type: 'state', state }));
parentPort!.on('message', async (order: NodeMinerOrder) => {
  if (order.type === 'intensity') miner.setIntensity(order.share);
  if (order.type === 'pause') miner.pause(PAUSED);
  if (order.type === 'resume') miner.resume();
  if (order.type !== 'stop' && order.type !== 'finish') return;
  await miner[order.type]('The operator stopped it.');
  post({ type: 'stopped' });
});
await miner.start().catch(() => {}); // the state says why
