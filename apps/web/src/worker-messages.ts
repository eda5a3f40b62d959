/** Everything that crosses between the page and its mining worker. */
import type { MinerState } from '@starling/miner';
import type { Waiting } from '@starling/protocol';

export type BackendChoice = 'auto' | 'webgpu' | 'wasm';

export interface StartMessage {
  type: 'start';
  /** Origin of the server. */
  url: string;
  name: string;
  backend: BackendChoice;
  /** Names this tab, and no other one that is open: its session is kept under it. */
  tab: string;
  /** Share of the time in which it computes. */
  intensity: number;
  /** What it computes with on WebAssembly. */
  threads: number;
  /** Bytes on the device; null: no cap. */
  memoryCap: number | null;
  /** It starts paused, for this reason. */
  paused: Waiting | null;
}

export type ToWorker =
  | StartMessage
  /** No leases for so long; 0 ends it. */
  | { type: 'rest'; pauseMs: number }
  /** No leases until `resume`. */
  | { type: 'pause'; waiting: Waiting }
  | { type: 'resume' }
  | { type: 'intensity'; share: number }
  /** The device has a network again. */
  | { type: 'online' }
  /** Complete what is under way, then stop. */
  | { type: 'finish'; reason: string }
  | { type: 'stop'; reason: string };

export type FromWorker = { type: 'state'; state: MinerState };
