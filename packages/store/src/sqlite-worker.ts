/** The thread behind `SqliteThread`. */
import { parentPort, workerData } from 'node:worker_threads';
import { SwarmError } from '@starling/protocol';
import { SqliteStore } from './sqlite.ts';
import { type Answer, type Call, OPENED, type ThreadData } from './sqlite-thread.ts';
import type { StoredTensor } from './store.ts';

const port = parentPort!;
const say = (answer: Answer, transfer: ArrayBuffer[] = []) => port.postMessage(answer, transfer);

async function answer(
  id: number,
  work: () => Promise<unknown>,
  buffersOf: (result: unknown) => ArrayBuffer[] = () => [],
): Promise<boolean> {
  try {
    const result = await work();
    say({ id, result }, buffersOf(result));
    return true;
  } catch (error) {
    say({ id, error: SwarmError.from(error, 'STORE_FAILED').toWire() });
    return false;
  }
}

/** SQLite gave each frame a buffer of its own, so it can be handed over as it is. */
const frames = (tensors: unknown) => (tensors as StoredTensor[]).flatMap(({ frame }) => (frame ? [frame.buffer as ArrayBuffer] : []));

const { path, ...options } = workerData as ThreadData;
let store: SqliteStore | undefined;
const opened = await answer(OPENED, async () => {
  store = new SqliteStore(path, options);
});
if (opened) {
  port.on('message', async ({ id, method, args }: Call) => {
    // The store works synchronously, so calls are done in the order in which they came.
    const call = store![method] as (...args: Call['args']) => Promise<unknown>;
    await answer(id, () => call.apply(store, args), method === 'tensors' ? frames : undefined);
    if (method === 'close') port.close();
  });
}
