/**
 * All Socket.IO messages in one place. Nothing else crosses.
 *
 * Requests (miner → server) are acknowledged with a `Reply`; a request that is lost is sent again after a
 * reconnect and is idempotent. Every incoming message is parsed with its schema before anything looks at it.
 */
import * as v from 'valibot';
import { SwarmError, type WireError } from './errors.ts';
import type { ReasonCode } from './reasons.ts';
import { ACTIVITIES, InnerNumbers, RunConfig, type StageSpec, StageState, Update } from './run.ts';
import { PROTOCOL_VERSION } from './version.ts';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const sha = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'not 32 bytes in hex'));
const id = v.pipe(v.string(), v.minLength(1), v.maxLength(64));
const duration = v.pipe(v.number(), v.finite(), v.minValue(0));

/** Tensors up to this many bytes travel inside the message; larger ones over HTTP as a blob. */
export const INLINE_LIMIT = 512 * 1024;

const binary = v.pipe(
  v.custom<Uint8Array | ArrayBuffer>((x) => x instanceof Uint8Array || x instanceof ArrayBuffer, 'neither bytes nor `{ blob }`'),
  v.transform((x) => (x instanceof Uint8Array ? x : new Uint8Array(x))),
);
const named = v.object({ blob: sha });
/** A tensor frame, inline or named by the SHA-256 of its frame bytes at `/v1/blobs/:sha256`. */
export const Payload = v.lazy((x) => (typeof x === 'object' && x !== null && 'blob' in x ? named : binary));
export type Payload = v.InferOutput<typeof Payload>;

// ── miner → server ────────────────────────────────────────────────────────────────────────────────

/** Letters in the name that a miner gives itself. */
export const MAX_NAME = 40;

export const Hello = v.object({
  protocol: count,
  name: v.optional(v.pipe(v.string(), v.trim(), v.maxLength(MAX_NAME))),
  /** Present when a miner comes back: it gets its identity and its counts again. */
  session: v.optional(v.object({ minerId: id, token: v.pipe(v.string(), v.maxLength(128)) })),
  /** What it still has loaded, so that a short break costs nothing; null after a reload. */
  holding: v.nullable(v.object({ stage: count, version: count })),
  backend: v.picklist(['webgpu', 'wasm', 'cpu']),
  adapter: v.pipe(v.string(), v.maxLength(200)),
  /** The ed25519 public key that signs its receipts; absent: it has none, and no chain can pay it. */
  device: v.optional(sha),
});
export type Hello = v.InferOutput<typeof Hello>;

/** `server`: its own name for itself, to which receipts and delegations are addressed. */
export const Welcome = v.object({ minerId: id, token: v.string(), server: v.string(), run: RunConfig });
export type Welcome = v.InferOutput<typeof Welcome>;

/** Parameters are loaded and hashed: the miner takes leases from now on. */
export const Ready = v.object({ stage: count, round: count, version: count, parameterHash: sha });
export type Ready = v.InferOutput<typeof Ready>;

export const Receipt = v.object({
  leaseId: id,
  inputHash: sha,
  /** SHA-256 of the output tensor; null where a stage has none (first stage's backward, losses). */
  outputHash: v.nullable(sha),
  output: v.nullable(Payload),
  /** Sum of the token losses in nats; last stage only. NaN is taken, and then refused for what it is. */
  lossSum: v.nullable(v.custom<number>((x) => typeof x === 'number', 'not a number')),
  computeMs: duration,
  /** Of `receiptMessage`, by the device that said hello. */
  signature: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/, 'not 64 bytes in hex'))),
});
export type Receipt = v.InferOutput<typeof Receipt>;

/** Microbatches of one step, at most: a longer list is refused before it is looked through. */
export const LONGEST_STEP = 65_536;

/** Shards of one gradient, at most. */
export const MOST_SHARDS = 65_536;
const shards = v.pipe(
  v.custom<string[]>((x) => Array.isArray(x) && x.length <= MOST_SHARDS, `not a list of at most ${MOST_SHARDS}`),
  v.array(sha),
);

/**
 * Answers `collect`: the miner's gradient sum over exactly `microbatches`, in the order they were added up, is uploaded, cut into
 * `shards`, whose blobs these are. By them the miner is committed to it.
 */
const microbatches = v.pipe(
  v.custom<number[]>((x) => Array.isArray(x) && x.length <= LONGEST_STEP, `not a list of at most ${LONGEST_STEP}`),
  v.array(count),
);
export const Contribution = v.object({ stage: count, version: count, round: count, shards, microbatches });
export type Contribution = v.InferOutput<typeof Contribution>;

/** Answers `reduce`: the sum is uploaded as blob `hash`. */
export const Reduced = v.object({ stage: count, version: count, round: count, shard: count, hash: sha });
export type Reduced = v.InferOutput<typeof Reduced>;

/** The miner cannot work for so long (a minute at most, 0: it can again); the lease, if any, goes to another. Nobody is blamed. */
export const Busy = v.object({ leaseId: v.nullable(id), pauseMs: duration });
export type Busy = v.InferOutput<typeof Busy>;

export const Applied = v.object({ stage: count, version: count, parameterHash: sha });
export type Applied = v.InferOutput<typeof Applied>;

export const Status = v.object({ activity: v.picklist(ACTIVITIES), reason: v.nullable(v.pipe(v.string(), v.maxLength(200))) });
export type Status = v.InferOutput<typeof Status>;

/** The miner goes on purpose: what it holds goes to others at once. */
export const Leave = v.object({ reason: v.pipe(v.string(), v.maxLength(200)) });
export type Leave = v.InferOutput<typeof Leave>;

export const REQUESTS = {
  hello: Hello,
  ready: Ready,
  receipt: Receipt,
  contribution: Contribution,
  reduced: Reduced,
  busy: Busy,
  applied: Applied,
  status: Status,
  leave: Leave,
};
export type Requests = { [K in keyof typeof REQUESTS]: v.InferOutput<(typeof REQUESTS)[K]> };
export type RequestName = keyof Requests;
export interface Replies {
  hello: Welcome;
  ready: null;
  /** Whether it counts for the step; if not, it came when others had done the work: nobody is blamed, and it earns nothing. */
  receipt: { counted: boolean };
  contribution: null;
  reduced: null;
  busy: null;
  applied: null;
  status: null;
  leave: null;
}
export type Reply<T> = { ok: true; value: T } | { ok: false; error: WireError };

// ── server → miner ────────────────────────────────────────────────────────────────────────────────

/**
 * Hold this stage at this version: fetch the state, load it, answer `ready` with the same `round`. Drops whatever was held
 * before. With inner steps the first moment is the outer step's momentum. An assignment whose round is not larger than the one before is void.
 */
export const Assign = v.object({
  stage: count,
  round: count,
  version: count,
  state: StageState,
  inner: v.nullable(InnerNumbers),
  why: v.string(),
});
export type Assign = v.InferOutput<typeof Assign>;

export const LEASE_KINDS = ['forward', 'backward', 'evaluate'] as const;
export type LeaseKind = (typeof LEASE_KINDS)[number];

/** What the receipt of such a lease brings at this stage; all else in it is null. */
export const broughtBy = (kind: LeaseKind, { isFirst, isLast }: StageSpec) => ({
  output: kind === 'backward' ? !isFirst : !isLast,
  loss: isLast,
});

/**
 * One piece of work. `input` is null only for a backward whose input this miner still holds.
 * forward: input → output. backward: input and outputGradient (last stage: targets) → input gradient, loss.
 * evaluate: input → output, last stage: input and targets → loss; nothing is kept.
 */
export const Lease = v.object({
  id,
  kind: v.picklist(LEASE_KINDS),
  stage: count,
  version: count,
  microbatch: count,
  /** Which gradient sum a backward joins: the sum of an earlier round starts again at zero. */
  round: count,
  /** Milliseconds from the grant until the lease goes to another miner. */
  deadlineMs: duration,
  input: v.nullable(Payload),
  inputHash: sha,
  outputGradient: v.nullable(Payload),
  targets: v.nullable(Payload),
  /** Of the microbatch `[B,T]`, int32 or uint8, with the input: later stages need them where the residual stream is a subspace's. */
  tokens: v.nullable(Payload),
});
export type Lease = v.InferOutput<typeof Lease>;

/** Somebody else was first: do not begin it, and drop the input kept for it. A receipt that comes all the same is surplus. */
export const Cancel = v.object({ leaseId: id });
export type Cancel = v.InferOutput<typeof Cancel>;

/** Upload this round's gradient sum, which is over exactly these microbatches, in so many shards, then send `contribution`. */
export const Collect = v.object({ stage: count, version: count, round: count, microbatches: v.array(count), shards: count });
export type Collect = v.InferOutput<typeof Collect>;

/**
 * Fetch these uploads of shard `shard` (of `shards`), add them up in this order, each times its scale, upload the sum, send `reduced`.
 * Another miner does the same, and both must come to the same bytes: docs/reduce.md.
 */
export const Reduce = v.object({
  stage: count,
  version: count,
  round: count,
  shard: count,
  shards: count,
  contributions: v.array(v.object({ hash: sha, scale: v.number() })),
});
export type Reduce = v.InferOutput<typeof Reduce>;

/** These shards will have to be applied soon. Not answered. */
export const Prefetch = v.object({ stage: count, shards });
export type Prefetch = v.InferOutput<typeof Prefetch>;

/** Apply this merged gradient, whose shards these are: version − 1 becomes `version`, whose parameters hash to `parameterHash`. */
export const Merge = v.object({ stage: count, version: count, shards, update: Update, parameterHash: sha });
export type Merge = v.InferOutput<typeof Merge>;

/** Why no lease comes now, since and until when (Unix ms of the server), and what to do. Replaces the last one; a lease clears it. */
export const Wait = v.object({
  code: v.custom<ReasonCode>((x) => typeof x === 'string'),
  message: v.string(),
  remedy: v.string(),
  since: duration,
  until: v.nullable(duration),
});
export type Wait = v.InferOutput<typeof Wait>;

export const COMMANDS = {
  assign: Assign,
  lease: Lease,
  cancel: Cancel,
  collect: Collect,
  reduce: Reduce,
  prefetch: Prefetch,
  merge: Merge,
  wait: Wait,
};
export type Commands = { [K in keyof typeof COMMANDS]: v.InferOutput<(typeof COMMANDS)[K]> };
export type CommandName = keyof Commands;

export type MinerToServer = { [K in RequestName]: (message: Requests[K], reply: (reply: Reply<Replies[K]>) => void) => void };
export type ServerToMiner = { [K in CommandName]: (message: Commands[K]) => void };

/** What was wrong is told in so many characters: a field that came too long is not sent back whole. */
const LONGEST_COMPLAINT = 240;

/** Parses an incoming message; throws `BAD_MESSAGE` naming the first field that does not fit. */
export function parseMessage<S extends v.GenericSchema>(name: string, schema: S, message: unknown): v.InferOutput<S> {
  // At the first: a message may hold a million fields that do not fit.
  const result = v.safeParse(schema, message, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue) ?? '(message)';
  const complaint = issue.message.length > LONGEST_COMPLAINT ? `${issue.message.slice(0, LONGEST_COMPLAINT)}…` : issue.message;
  throw new SwarmError('BAD_MESSAGE', `\`${name}\` does not fit the protocol at ${path}: ${complaint}`);
}

/**
 * Parses a request of a miner; throws `BAD_MESSAGE`. A `hello` of another version gets `PROTOCOL_UNSUPPORTED` before
 * its other fields are looked at: that version may well have changed them.
 */
export function parseRequest<K extends RequestName>(name: K, message: unknown): Requests[K] {
  if (name === 'hello') {
    const { protocol } = parseMessage(name, v.pick(Hello, ['protocol']), message);
    if (protocol !== PROTOCOL_VERSION) {
      throw new SwarmError('PROTOCOL_UNSUPPORTED', `This server speaks protocol ${PROTOCOL_VERSION}, the miner ${protocol}.`);
    }
  }
  return parseMessage(name, REQUESTS[name], message) as Requests[K];
}
