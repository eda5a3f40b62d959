import type { Activity, Backend, Waiting, WireError } from '@starling/protocol';

/** Where a miner's time goes; sending receipts overlaps with the next lease and is in none of them. */
export type Phase = 'compute' | 'wire' | 'merge' | 'wait';

/** What a miner page shows. Replaced as a whole on every change; plain data, so it crosses `postMessage`. */
export interface MinerState {
  activity: Activity;
  /** A sentence: why it waits, what it downloads, when it reconnects; null while it simply computes. */
  reason: string | null;
  /** Why no lease comes, what to do, and since when, as the server says; null while it works. */
  waiting: Waiting | null;
  /** Why it takes no work, by its own will: paused, or finishing; null when it does. What it holds it keeps up to date all the same. */
  paused: Waiting | null;
  /** Unix ms since when `activity` holds. */
  since: number;
  backend: Backend | null;
  /** The GPU as the browser names it, or the CPU path in words; null before it is known. */
  adapter: string | null;
  /** Why WebGPU is not in use although it was asked for; null when it is (or was not wanted). */
  fallback: WireError | null;
  minerId: string | null;
  /** What a page that is being closed says goodbye with (`POST /v1/leave`); not to be shown. */
  session: { minerId: string; token: string; socketId: string } | null;
  name: string;
  stage: number | null;
  stages: number | null;
  /** Layers held, inclusive. */
  layers: [first: number, last: number] | null;
  version: number | null;
  /** SHA-256 of the parameters held, as proved to the server: equal in all replicas of a stage. */
  parameterHash: string | null;
  parameters: number | null;
  /** Receipts accepted in this session. */
  microbatches: number;
  /** Receipts that came when others had done the work: they do not count, and earn nothing. */
  surplus: number;
  tokens: number;
  /** Over the last 30 s. */
  tokensPerSecond: number;
  rejected: number;
  /** Milliseconds spent so far in each phase, to the last change of phase. */
  spent: Record<Phase, number>;
  /** Newest refusals first, at most 20. */
  refusals: { time: number; error: WireError }[];
  /** The failure that stopped or delays the miner; null when all is well. */
  error: WireError | null;
  /** Live tensors and their bytes on the backend: flat while mining. */
  memory: { tensors: number; bytes: number };
}

/** Before anything is known of the server or the device. `now` in Unix ms. */
export function initialState(name: string, now: number): MinerState {
  return {
    activity: 'connecting',
    reason: null,
    since: now,
    backend: null,
    adapter: null,
    fallback: null,
    minerId: null,
    name,
    stage: null,
    stages: null,
    layers: null,
    version: null,
    parameterHash: null,
    parameters: null,
    session: null,
    waiting: null,
    paused: null,
    microbatches: 0,
    surplus: 0,
    tokens: 0,
    tokensPerSecond: 0,
    rejected: 0,
    spent: { compute: 0, wire: 0, merge: 0, wait: 0 },
    refusals: [],
    error: null,
    memory: { tensors: 0, bytes: 0 },
  };
}
