/** Mines away from the page's thread: neither drawing nor a hidden tab slows it down. */
import { createKernels } from '@starling/kernels';
import { Miner, type MinerState } from '@starling/miner';
import { deviceKey } from './device-key.ts';
import { pace } from './pace.ts';
import { sessionStore } from './session-store.ts';
import { tuningStore } from './tuning-store.ts';
import { wasmPaths } from './wasm-paths.ts';
import type { FromWorker, StartMessage, ToWorker } from './worker-messages.ts';

/** A small stage changes state hundreds of times a second; nobody reads faster than this. */
const STATE_INTERVAL_MS = 250;

/** For measuring the ways to compute, at the first start on an adapter. */
const TUNING_MS = 3_000;

const post = pace((state: MinerState) => {
  const message: FromWorker = { type: 'state', state };
  self.postMessage(message);
}, STATE_INTERVAL_MS);

let miner: Miner | null = null;

self.onmessage = ({ data: message }: MessageEvent<ToWorker>) => {
  switch (message.type) {
    case 'start':
      start(message);
      break;
    case 'stop':
    case 'finish':
      miner?.[message.type](message.reason).catch(reportError);
      break;
    case 'pause':
      miner?.pause(message.waiting);
      break;
    case 'resume':
      miner?.resume();
      break;
    case 'rest':
      miner?.rest(message.pauseMs);
      break;
    case 'intensity':
      miner?.setIntensity(message.share);
      break;
    case 'online':
      miner?.online();
      break;
  }
};

function start({ url, name, backend, tab, intensity, threads, memoryCap, paused }: StartMessage): void {
  miner = new Miner(
    { url, name, backend, intensity, ...(memoryCap !== null && { memoryCap }) },
    {
      createKernels: (chosen) =>
        createKernels({ backend: chosen, wasmPaths, threads, tuning: { store: tuningStore(), budgetMs: TUNING_MS } }),
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
  if (paused) miner.pause(paused);
  const mine = miner;
  mine.start().catch((error) => {
    // A failure that the state tells is told; anything else reaches the page's `worker.onerror`.
    if (mine.state.activity !== 'stopped') reportError(error);
  });
}
