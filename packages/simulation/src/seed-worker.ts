/** Runs the seeds it is sent, one after the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Options, World } from './world.ts';

parentPort!.on('message', async (seed: number) => {
  parentPort!.postMessage(await new World(seed, workerData as Options).run());
});
