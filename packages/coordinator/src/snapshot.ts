/** The state as plain data and back. Whatever follows from the rest is left out and made again. */
import { Butterfly, type ButterflySnapshot } from '@starling/reduce';
import { type Flow, newFlows, type Slot } from './flow.ts';
import { type Credit, type MinerRecord, NO_REPUTATION, newMiner, type Reputation } from './miner.ts';
import { type PackedFlow, type PackedLease, packFlows, packLease, unpackFlows, unpackLease } from './packed.ts';
import { type Claim, type MergeWork, noMerge, type StageRecord } from './stage.ts';
import { State } from './state.ts';
import { Step } from './step.ts';
import type { CoordinatorConfig } from './types.ts';

type Plain<T, K extends keyof T, With> = Omit<T, K> & With;

export interface Snapshot {
  /** Changes when a state of before cannot be read any more. */
  format: 3;
  config: CoordinatorConfig;
  counters: State['counters'];
  now: number;
  rebalancedAt: number;
  leaseCount: number;
  minerCount: number;
  roundCount: number;
  stages: Plain<StageRecord, 'merge', { merge: PlainMerge; crew: string[] }>[];
  miners: Plain<MinerRecord, 'leases', { leases: string[] }>[];
  steps: {
    number: number;
    /** Held-out microbatches among its flows. */
    validate: number;
    /** The rest is as it was made. */
    flows: PackedFlow[];
    progressAt: number;
    /** Indices into `flows`. */
    ready: Record<Slot, number[]>[];
    pinned: [string, number[]][];
  }[];
  credits: [string, Credit][];
  /** Snapshots of before do not have it: then everybody begins as a newcomer, and bans are in the credits; or not all of it. */
  reputations?: [string, Partial<Reputation>][];
  leases: PackedLease[];
}

type PlainMerge = Plain<
  MergeWork,
  'collecting' | 'voided' | 'butterfly',
  { collecting: [string, Claim][]; voided: [string, number][]; butterfly: ButterflySnapshot | null }
>;

const plainMerge = (merge: MergeWork): PlainMerge => ({
  ...merge,
  collecting: [...merge.collecting],
  voided: [...merge.voided],
  butterfly: merge.butterfly?.snapshot() ?? null,
});

const mergeOfPlain = ({ collecting, voided, butterfly, ...merge }: PlainMerge): MergeWork => ({
  ...noMerge(merge.version),
  ...merge,
  collecting: new Map(collecting),
  voided: new Map(voided),
  butterfly: butterfly && Butterfly.restore(butterfly),
});

/** What is made, with what was told of it. Snapshots of before lack some of it, and tell what nobody needs any more. */
const known = <T extends object>(made: T, told: Partial<T>): T =>
  Object.assign(made, Object.fromEntries(Object.entries(told).filter(([name]) => name in made)));

const indices = (flows: readonly Flow[]) => flows.map((flow) => flow.index);

export function toSnapshot(state: State): Snapshot {
  const { config, counters, now, rebalancedAt, leaseCount, minerCount, roundCount } = state;
  return {
    format: 3,
    config,
    counters,
    now,
    rebalancedAt,
    leaseCount,
    minerCount,
    roundCount,
    stages: state.stages.map((stage) => ({
      ...stage,
      merge: plainMerge(stage.merge),
      crew: [...state.crews[stage.index]!.members.keys()],
    })),
    miners: [...state.miners.values()].map((miner) => ({ ...miner, leases: [...miner.leases] })),
    steps: [...state.steps.values()].map(({ number, flows, progressAt, ready, pinned }) => ({
      number,
      validate: flows.length - config.microbatchesPerStep,
      flows: packFlows(flows),
      progressAt,
      ready: ready.map(({ forward, backward }) => ({ forward: indices(forward), backward: indices(backward) })),
      // An order of its own: which miner got its first task first bears on nothing.
      pinned: [...pinned].map(([id, own]): [string, number[]] => [id, indices(own)]).sort(([a], [b]) => (a < b ? -1 : 1)),
    })),
    credits: [...state.credits],
    reputations: [...state.reputations],
    leases: Array.from(state.leases.values(), packLease),
  };
}

/** Takes the snapshot over: it must not be used afterwards. */
export function fromSnapshot(snapshot: Snapshot): State {
  const { config, counters, now, rebalancedAt, leaseCount, minerCount, roundCount } = snapshot;
  const state = new State(config, now);
  Object.assign(state.counters, counters);
  Object.assign(state, { rebalancedAt, leaseCount, minerCount, roundCount });
  // Overwriting a field keeps its place, and so the text of the next snapshot.
  for (const { leases, ...miner } of snapshot.miners) {
    const { id, order, facts, stage, joinedAt } = miner;
    state.miners.set(id, known(newMiner(id, order, facts, stage, joinedAt), { ...miner, leases: new Set(leases) }));
  }
  snapshot.stages.forEach(({ merge, crew: _, ...stage }, index) => {
    const own = state.stages[index]!;
    known(own, { ...stage, merge: mergeOfPlain(merge), times: known(own.times, stage.times) });
  });
  for (const { number, validate, flows: packed, progressAt, ready, pinned } of snapshot.steps) {
    const flows = newFlows(number, config.microbatchesPerStep, validate, config.stages);
    unpackFlows(packed, flows);
    const step = new Step(number, flows, config.stages, progressAt);
    const pick = (list: number[]) => list.map((index) => flows[index]!);
    ready.forEach(({ forward, backward }, stage) => {
      step.ready[stage] = { forward: pick(forward), backward: pick(backward) };
    });
    for (const [id, own] of pinned) step.pinned.set(id, pick(own));
    state.steps.set(number, step);
  }
  for (const [id, credit] of snapshot.credits) state.credits.set(id, credit);
  for (const [owner, reputation] of snapshot.reputations ?? []) state.reputations.set(owner, known({ ...NO_REPUTATION }, reputation));
  for (const packed of snapshot.leases) {
    const lease = unpackLease(state, packed);
    state.leases.set(lease.id, lease);
  }
  // After the leases: where a miner stands follows from all of the above.
  snapshot.stages.forEach(({ crew }, index) => {
    for (const id of crew) state.crews[index]!.add(state.miners.get(id)!);
  });
  return state;
}
