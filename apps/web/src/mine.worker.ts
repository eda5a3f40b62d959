/** Mines away from the page's thread: neither drawing nor a hidden tab slows it down. */
import { createKernels } from '@starling/kernels';
import { Miner, type MinerState } from '@starling/miner';
import plain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url';
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';
import threaded from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url';
import { deviceKey } from './device-key.ts';
import { pace } from './pace.ts';
import { sessionStore } from './session-store.ts';
import type { FromWorker, ToWorker } from './worker-messages.ts';

const wasmPaths = {
  'tfjs-backend-wasm.wasm': plain,
  'tfjs-backend-wasm-simd.wasm': simd,
  'tfjs-backend-wasm-threaded-simd.wasm': threaded,
};

/** A small stage changes state hundreds of times a second; nobody reads faster than this. */
const STATE_INTERVAL_MS = 100;

const post = pace((state: MinerState) => {
  const message: FromWorker = { type: 'state', state };
  self.postMessage(message);
}, STATE_INTERVAL_MS);

let miner: Miner | null = null;

self.onmessage = ({ data: message }: MessageEvent<ToWorker>) => {
  if (message.type === 'stop') {
    miner?.stop(message.reason).catch(reportError);
    return;
  }
  if (message.type === 'rest') {
    miner?.rest(message.pauseMs);
    return;
  }
  const { url, name, backend, tab } = message;
  miner = new Miner(
    { url, name, backend },
    {
      createKernels: (chosen) => createKernels({ backend: chosen, wasmPaths }),
      storage: sessionStore(tab),
      // A browser that makes no such keys mines all the same, and is in no account.
      device: () =>
        deviceKey().then(
          (key) => key.signer,
          () => null,
        ),
    },
  );
  miner.onState(post);
  const mine = miner;
  mine.start().catch((error) => {
    // A failure that the state tells is told; anything else reaches the page's `worker.onerror`.
    if (mine.state.activity !== 'stopped') reportError(error);
  });
};
