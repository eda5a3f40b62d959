/** Everything that crosses between the page and its mining worker. */
import type { MinerState } from '@starling/miner';

export type BackendChoice = 'auto' | 'webgpu' | 'wasm';

export type ToWorker =
  | {
      type: 'start';
      /** Origin of the server. */
      url: string;
      name: string;
      backend: BackendChoice;
      /** Names this tab, and no other one that is open: its session is kept under it. */
      tab: string;
    }
  /** No leases for so long; 0 ends it. */
  | { type: 'rest'; pauseMs: number }
  | { type: 'stop'; reason: string };

export type FromWorker = { type: 'state'; state: MinerState };
