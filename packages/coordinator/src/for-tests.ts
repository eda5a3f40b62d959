/** For this package's tests: a coordinator in virtual time, looked at after every input, and miners that remember what they were told. */
import { Coordinator } from './coordinator.ts';
import { brokenInvariant } from './invariants.ts';
import type { MinerRecord } from './miner.ts';
import type { StageRecord } from './stage.ts';
import type { Contributed, CoordinatorConfig, Effect, GrantedLease, Input } from './types.ts';

export type EffectOf<T extends Effect['type']> = Extract<Effect, { type: T }>;

export const of = <T extends Effect['type']>(effects: readonly Effect[], type: T): EffectOf<T>[] =>
  effects.filter((effect): effect is EffectOf<T> => effect.type === type);
export const refusal = (effects: readonly Effect[]) => of(effects, 'refuse')[0]?.code;
export const codes = (effects: readonly Effect[]) => of(effects, 'event').map(({ code }) => code);
export const grants = (effects: readonly Effect[]) => of(effects, 'grant');
export const whom = (effects: readonly { minerId: string }[]) => effects.map(({ minerId }) => minerId);

export const hashOf = (stage: number, version: number) => `p${stage}@${version}`;
export const facts = { name: 'one', backend: 'cpu', adapter: 'none' } as const;

/** 64 hex digits that follow from a text: FNV-1a, eight times. */
export function digest(text: string): string {
  let digits = '';
  for (let i = 0; i < 8; i++) {
    let hash = 0x811c9dc5 ^ i;
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    digits += (hash >>> 0).toString(16).padStart(8, '0');
  }
  return digits;
}

type Task = Pick<EffectOf<'reduce'>, 'shard' | 'contributions'>;
/** What an honest reducer gets. */
export const reducedOf = ({ shard, contributions }: Task) => digest(JSON.stringify([shard, contributions]));

/** A reduction as it began. */
export interface Begun {
  stage: number;
  version: number;
  tokens: number;
  contributions: readonly Contributed[];
}

export function configOf(over: Partial<CoordinatorConfig> = {}): CoordinatorConfig {
  const { stages = 2, version = 0 } = over;
  return {
    stages,
    microbatchesPerStep: 2,
    minMicrobatches: 1,
    validationMicrobatches: 0,
    validateEvery: 10,
    steps: 0,
    clip: 'stage',
    tokensPerMicrobatch: 8,
    overlap: false,
    // Two shards.
    reduction: {
      parameters: new Array<number>(stages).fill(8_192),
      codec: 'f32',
      merged: 'f32',
      means: false,
      medianClip: null,
      spotCheck: 0,
    },
    version,
    parameterHashes: Array.from({ length: stages }, (_, stage) => hashOf(stage, version)),
    leasePrefix: 't',
    ...over,
  };
}

/** What one miner was told and has not answered, and the gradient sums it holds, by round. */
export interface Hands {
  assigned: EffectOf<'assign'> | null;
  leases: Map<string, GrantedLease>;
  sums: Map<number, number[]>;
  collect: EffectOf<'collect'> | null;
  /** Shards it is to reduce. */
  reduces: EffectOf<'reduce'>[];
  merge: EffectOf<'distribute'> | null;
}

const emptyHands = (): Hands => ({ assigned: null, leases: new Map(), sums: new Map(), collect: null, reduces: [], merge: null });

/** What a miner hands in as a gradient of so many shards. */
export const uploadOf = (minerId: string, round: number, shards: number): Pick<Contributed, 'hashes' | 'squares'> => ({
  hashes: Array.from({ length: shards }, (_, shard) => digest(`${minerId} ${round} ${shard}`)),
  squares: new Array<number>(shards).fill(1),
});

/** A coordinator with its miners, who do nothing by themselves. Throws when an invariant is broken. */
export class Swarm {
  readonly coordinator: Coordinator;
  /** All effects so far. */
  readonly log: Effect[] = [];
  readonly hands = new Map<string, Hands>();
  /** Reductions that have begun and are not merged, by stage. */
  readonly reductions = new Map<number, Begun>();
  /** What the world was asked for and has not answered. */
  readonly draws = new Map<number, EffectOf<'draw'>>();
  readonly recomputes: EffectOf<'recompute'>[] = [];
  readonly sums = new Map<number, EffectOf<'sum'>>();
  readonly applies = new Map<number, EffectOf<'apply'>>();
  private readonly beginnings = new Map<EffectOf<'draw'>, Begun>();
  /** Round of every lease ever granted. */
  private readonly rounds = new Map<string, number>();
  /** Virtual Unix ms. */
  now = 1_000_000;
  /** Told of every input and what came of it. */
  readonly watchers: ((input: Input, effects: readonly Effect[]) => void)[] = [];

  constructor(over: Partial<CoordinatorConfig> = {}) {
    this.coordinator = new Coordinator(configOf(over), this.now);
  }

  /** A swarm whose miners have their stages. */
  static ready(miners: readonly string[], over: Partial<CoordinatorConfig> = {}): Swarm {
    const swarm = new Swarm(over);
    for (const id of miners) swarm.join(id);
    for (const id of miners) swarm.load(id);
    return swarm;
  }

  send(input: Input): Effect[] {
    const effects = this.coordinator.handle(input, this.now);
    this.log.push(...effects);
    this.remember(input, effects);
    const problem = brokenInvariant(this.coordinator);
    if (problem) throw new Error(`After ${JSON.stringify(input)}: ${problem}`);
    return effects;
  }

  private remember(input: Input, effects: readonly Effect[]): void {
    if (input.type === 'restart') this.forgetReductions();
    if (input.type === 'merged') this.applies.delete(input.stage);
    if (input.type === (this.coordinator.config.overlap ? 'summed' : 'merged')) this.reductions.delete(input.stage);
    if (input.type === 'leave') this.hands.delete(input.minerId);
    if (input.type === 'busy' && input.leaseId !== null) this.hands.get(input.minerId)?.leases.delete(input.leaseId);
    for (const effect of effects) {
      if (effect.type === 'draw') this.begin(effect);
      if (effect.type === 'recompute') this.recomputes.push(effect);
      if (effect.type === 'sum') this.sums.set(effect.stage, effect);
      if (effect.type === 'apply') this.applies.set(effect.stage, effect);
      if (!('minerId' in effect)) continue;
      const hands = this.hands.get(effect.minerId) ?? emptyHands();
      this.hands.set(effect.minerId, hands);
      switch (effect.type) {
        case 'assign':
          this.hands.set(effect.minerId, { ...emptyHands(), assigned: effect });
          break;
        case 'grant':
          hands.leases.set(effect.lease.id, effect.lease);
          this.rounds.set(effect.lease.id, effect.lease.round);
          break;
        case 'cancel':
          hands.leases.delete(effect.leaseId);
          break;
        case 'refuse':
          if (effect.leaseId) hands.leases.delete(effect.leaseId);
          break;
        case 'settled': {
          hands.leases.delete(effect.leaseId);
          if (effect.outcome !== 'counted' || effect.work.kind !== 'backward') break;
          const round = this.rounds.get(effect.leaseId)!;
          hands.sums.set(round, [...(hands.sums.get(round) ?? []), effect.work.microbatch]);
          break;
        }
        case 'collect':
          hands.collect = effect;
          break;
        case 'reduce':
          hands.reduces.push(effect);
          break;
        case 'distribute':
          hands.merge = effect;
          break;
      }
    }
    for (const watch of this.watchers) watch(input, effects);
  }

  private forgetReductions(): void {
    this.draws.clear();
    this.recomputes.length = 0;
    this.sums.clear();
    this.applies.clear();
  }

  private begin(draw: EffectOf<'draw'>): void {
    const { stage, version } = draw;
    const first = ({ microbatches }: Contributed) => Math.min(...microbatches);
    const contributions = this.coordinator.stage(stage).merge.contributions.toSorted((a, b) => first(a) - first(b));
    const tokens = this.coordinator.config.tokensPerMicrobatch * contributions.flatMap(({ microbatches }) => microbatches).length;
    const begun = { stage, version, tokens, contributions };
    this.beginnings.set(draw, begun);
    this.reductions.set(stage, begun);
    this.draws.set(stage, draw);
  }

  /** The reductions that began with these effects. */
  begun(effects: readonly Effect[]): Begun[] {
    return of(effects, 'draw').map((draw) => this.beginnings.get(draw)!);
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────

  /** Time passes, and nobody notices yet. */
  wait(ms: number): this {
    this.now += ms;
    return this;
  }

  tick(ms = 0): Effect[] {
    return this.wait(ms).send({ type: 'tick' });
  }

  /** Time passes with a tick every so often, as it does on a server. */
  pass(ms: number, every = 1_000): Effect[] {
    const effects: Effect[] = [];
    for (const end = this.now + ms; this.now < end; ) effects.push(...this.tick(Math.min(every, end - this.now)));
    return effects;
  }

  // ── what miners say ───────────────────────────────────────────────────────────────────────────

  join(minerId: string, holding: { stage: number; version: number } | null = null): Effect[] {
    return this.send({ type: 'join', minerId, facts, holding });
  }

  /** It comes back with what it had. */
  resume(minerId: string): Effect[] {
    const { stage, version } = this.miner(minerId);
    return this.join(minerId, { stage, version });
  }

  disconnect(minerId: string): Effect[] {
    return this.send({ type: 'disconnect', minerId });
  }

  leave(minerId: string): Effect[] {
    return this.send({ type: 'leave', minerId });
  }

  /** It answers its newest assignment. */
  load(minerId: string, parameterHash?: string): Effect[] {
    const hands = this.hands.get(minerId)!;
    const { stage, round, version } = hands.assigned!;
    hands.assigned = null;
    return this.send({ type: 'ready', minerId, stage, round, version, parameterHash: parameterHash ?? hashOf(stage, version) });
  }

  /** A receipt for its own lease, or for whatever id it names. */
  receipt(minerId: string, leaseId: string): Effect[] {
    return this.send({ type: 'receipt', minerId, leaseId, outputHash: 'h', lossSum: 16, computeMs: 5 });
  }

  forfeit(minerId: string, leaseId: string): Effect[] {
    return this.send({ type: 'forfeit', minerId, leaseId, code: 'TENSOR_NOT_FINITE', message: 'NaN.' });
  }

  busy(minerId: string, leaseId: string | null = null, pauseMs = 2_000): Effect[] {
    return this.send({ type: 'busy', minerId, leaseId, pauseMs });
  }

  /** It answers the newest request for its gradient, with what it has. */
  contribute(minerId: string): Effect[] {
    const { collect, sums } = this.hands.get(minerId)!;
    const { stage, version, round, shards } = collect!;
    const microbatches = sums.get(round) ?? [];
    this.hands.get(minerId)!.collect = null;
    return this.send({ type: 'contribution', minerId, stage, version, round, microbatches, ...uploadOf(minerId, round, shards) });
  }

  spoil(minerId: string): Effect[] {
    const { stage, version, round } = this.hands.get(minerId)!.collect!;
    return this.send({ type: 'spoiled', minerId, stage, version, round, code: 'TENSOR_NOT_FINITE', message: 'NaN.' });
  }

  /** The world has drawn the pairs. */
  draw(stage: number): Effect[] {
    const { version, over } = this.draws.get(stage)!;
    this.draws.delete(stage);
    return this.send({ type: 'seed', stage, version, seed: digest(over), secretSeed: digest(`secret ${over}`) });
  }

  /** It has reduced what it was asked for first. */
  reduce(minerId: string, hash?: string): Effect[] {
    const task = this.hands.get(minerId)!.reduces.shift()!;
    const { stage, version, round, shard } = task;
    return this.send({ type: 'result', minerId, stage, version, round, shard, hash: hash ?? reducedOf(task) });
  }

  /** The world has computed what it was asked for first. */
  recompute(): Effect[] {
    const task = this.recomputes.shift()!;
    const { stage, version, round, shard } = task;
    return this.send({ type: 'recomputed', stage, version, round, shard, hash: reducedOf(task) });
  }

  /** Everything that can be done now up to the merged shards of this stage. */
  reduceAll(stage: number): Effect[] {
    const effects: Effect[] = [];
    while (!this.sums.has(stage)) {
      const reducer = [...this.hands].find(([id, { reduces }]) => reduces[0]?.stage === stage && this.coordinator.miner(id)?.connected);
      if (this.draws.has(stage)) effects.push(...this.draw(stage));
      else if (reducer) effects.push(...this.reduce(reducer[0]));
      else if (this.recomputes.length > 0) effects.push(...this.recompute());
      else break;
    }
    return effects;
  }

  /** The stage's gradients are reduced, and the world has measured them. */
  sum(stage: number): Effect[] {
    const { length } = this.log;
    this.reduceAll(stage);
    if (!this.sums.has(stage)) throw new Error(`Stage ${stage} waits for reducers that say nothing.`);
    const { version, tokens, shards } = this.sums.get(stage)!;
    this.sums.delete(stage);
    this.send({ type: 'summed', stage, version, shards, norm: 1, tokens });
    return this.log.slice(length);
  }

  /** The stage's gradients are reduced, and the world has applied what came of it. */
  merge(stage: number): Effect[] {
    const [apply] = of(this.sum(stage), 'apply');
    return apply ? this.applied(apply) : [];
  }

  /** The world has applied a sum. */
  applied({ stage, version: before, summed, clipNorm }: EffectOf<'apply'>): Effect[] {
    const version = before + 1;
    return this.send({ type: 'merged', stage, version, parameterHash: hashOf(stage, version), ...summed, clipNorm });
  }

  /** It answers the newest merge it was told of. */
  apply(minerId: string, parameterHash?: string): Effect[] {
    const hands = this.hands.get(minerId)!;
    const { stage, merge } = hands.merge!;
    hands.merge = null;
    const { version } = merge;
    return this.send({ type: 'applied', minerId, stage, version, parameterHash: parameterHash ?? hashOf(stage, version) });
  }

  // ── what they do when everything goes well ────────────────────────────────────────────────────

  /** Receipts for all leases that are held, those too that come of it, `ms` apart, until there are none. */
  compute(only: (minerId: string, lease: GrantedLease) => boolean = () => true, ms = 0): Effect[] {
    const effects: Effect[] = [];
    for (;;) {
      const held = [...this.hands].flatMap(([id, { leases }]) => [...leases.values()].map((lease) => ({ id, lease })));
      const next = held.find(({ id, lease }) => only(id, lease));
      if (!next) return effects;
      effects.push(...this.wait(ms).receipt(next.id, next.lease.id));
    }
  }

  /** Everybody hands in what is asked for. */
  contributeAll(): Effect[] {
    return [...this.hands].flatMap(([id, { collect }]) => (collect ? this.contribute(id) : []));
  }

  /** Everything there is to do on the way to `version`, once round. */
  round(version: number, ms = 0): Effect[] {
    const { length } = this.log;
    for (const [id, { assigned }] of this.hands) if (assigned) this.load(id);
    for (const [id, { merge }] of this.hands) if (merge) this.apply(id);
    this.compute((_, lease) => lease.version < version, ms);
    this.contributeAll();
    for (const stage of this.reductions.keys()) {
      this.reduceAll(stage);
      if (this.sums.has(stage)) this.merge(stage);
    }
    for (const apply of this.applies.values()) this.applied(apply);
    return this.log.slice(length);
  }

  /** Whole steps, until every stage has reached `version`. */
  reach(version: number, ms = 0): this {
    while (this.stages.some((stage) => stage.version < version))
      if (this.round(version, ms).length === 0) throw new Error(`The run stands still before version ${version}.`);
    return this;
  }

  // ── looking ───────────────────────────────────────────────────────────────────────────────────

  miner(id: string): Readonly<MinerRecord> {
    const miner = this.coordinator.miner(id);
    if (!miner) throw new Error(`${id} is not there`);
    return miner;
  }

  get stages(): Readonly<StageRecord>[] {
    return this.coordinator.view().map(({ stage }) => stage);
  }

  /** The leases a miner holds, oldest first. */
  leasesOf(minerId: string): GrantedLease[] {
    return [...(this.hands.get(minerId)?.leases.values() ?? [])];
  }

  /** Ids of the miners of each stage. */
  get crews(): string[][] {
    return this.coordinator.view().map(({ miners }) => miners.map(({ id }) => id));
  }

  get counters() {
    return this.coordinator.counters;
  }
}

/** Chance by a seed: mulberry32. */
export class Dice {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)];
  }
}
