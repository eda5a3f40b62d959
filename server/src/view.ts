/** The run as pages see it: kept beside the coordinator, which knows nothing of names, rates or charts. */
import type { Coordinator, Effect, MinerFacts as Facts } from '@starling/coordinator';
import {
  type Activity,
  explain,
  type MergeBytes,
  type MinerView,
  type Move,
  newestEvents,
  Rate,
  type RunConfig,
  type RunEvent,
  type RunSnapshot,
  type StageView,
  type StepPoint,
  thinned,
  type Waiting,
  type Work,
} from '@starling/protocol';

/** In one update. */
const MOVES_KEPT = 60;
/** Miners remembered, beyond those that are here. */
const MINERS_KEPT = 5_000;

interface MinerFacts extends Facts {
  activity: Activity;
  reason: string | null;
  rate: Rate;
}

interface Effort {
  /** Unix ms. */
  since: number;
  bytes: number;
  /** By stage. */
  computeMs: number[];
  leases: number[];
  /** Summed over the leases. */
  queue: number[];
  merges: MergeBytes[];
}

const freshEffort = (stages: number, since: number): Effort => {
  const zeros = () => Array.from({ length: stages }, () => 0);
  return { since, bytes: 0, computeMs: zeros(), leases: zeros(), queue: zeros(), merges: zeros().map(() => ({ uploaded: 0, sent: 0 })) };
};

/** What a stage did of one step. Unix ms. */
interface Part {
  /** The first lease was granted. */
  from: number;
  /** The last receipt counted. */
  to: number;
  /** Of backwards that counted. */
  tokens: number;
}

export interface ViewState {
  points: StepPoint[];
  events: RunEvent[];
  startedAt: number;
}

export class RunView {
  readonly config: RunConfig;
  points: StepPoint[];
  events: RunEvent[];
  /** Points and events ever appended: how a feed tells what is new. */
  appended: { points: number; events: number };
  tokens: number;
  readonly startedAt: number;
  private readonly moves: Move[] = [];
  /** Of the step under way, since this process began: what closes is told with it. */
  private effort: Effort;
  /** By step and stage: with overlap, a stage begins the next step before the last one closes. */
  private readonly parts = new Map<number, Part[]>();
  /** Why nothing moves although nobody is at fault; null when all is well. */
  trouble: Waiting | null = null;
  private readonly coordinator: Coordinator;
  private readonly parameters: number[];
  private readonly facts = new Map<string, MinerFacts>();
  private readonly rate = new Rate();

  constructor(config: RunConfig, coordinator: Coordinator, parameters: number[], { points, events, startedAt }: ViewState) {
    this.config = config;
    this.coordinator = coordinator;
    this.parameters = parameters;
    this.points = thinned(points);
    this.events = newestEvents(events);
    this.appended = { points: this.points.length, events: this.events.length };
    this.tokens = points.at(-1)?.tokens ?? 0;
    this.startedAt = startedAt;
    this.effort = freshEffort(config.stages.length, Date.now());
    // A rate is over the time since this process began, not since its first step closed.
    this.rate.add(0, Date.now());
    for (const { miners } of coordinator.view()) for (const { id, facts } of miners) this.joined(id, facts);
  }

  joined(minerId: string, facts: Facts): void {
    const known = this.facts.get(minerId);
    this.facts.set(minerId, { activity: 'downloading', reason: null, rate: new Rate(), ...known, ...facts });
    if (this.facts.size <= MINERS_KEPT) return;
    for (const id of this.facts.keys()) {
      if (id === minerId || this.coordinator.miner(id)) continue;
      this.facts.delete(id);
      break;
    }
  }

  status(minerId: string, activity: Activity, reason: string | null): void {
    const facts = this.facts.get(minerId);
    if (facts) Object.assign(facts, { activity, reason });
  }

  /** An accepted backward of this many tokens. */
  worked(minerId: string, tokens: number, now: number): void {
    this.facts.get(minerId)?.rate.add(tokens, now);
  }

  /** Counts the tokens of a step that closes, and gives its point. To be called once for each. */
  close({ step, tokens, lossSum, validation, norms }: Extract<Effect, { type: 'closed' }>, now: number, learningRate: number): StepPoint {
    this.tokens += tokens;
    this.rate.add(tokens, now);
    const { since, bytes, computeMs, leases, queue, merges } = this.effort;
    const here = this.coordinator
      .view()
      .flatMap(({ miners }) => miners)
      .filter((miner) => miner.connected).length;
    const had = here * (now - since);
    const spent = computeMs.reduce((sum, ms) => sum + ms, 0);
    this.effort = freshEffort(this.config.stages.length, now);
    const parts = this.parts.get(step);
    for (const known of this.parts.keys()) if (known <= step) this.parts.delete(known);
    const perLease = (sums: readonly number[]) => sums.map((sum, stage) => (leases[stage]! > 0 ? sum / leases[stage]! : null));
    return {
      step: step + 1,
      tokens: this.tokens,
      time: now,
      // Nothing came as far as the last stage: what is known of the model is what it was.
      loss: tokens > 0 ? lossSum / tokens : (this.points.at(-1)?.loss ?? Math.log(this.config.model.vocabulary)),
      validationLoss: validation ? validation.lossSum / validation.tokens : null,
      learningRate,
      gradientNorms: norms,
      tokensPerSecond: this.rate.perSecond(now),
      ...(had > 0 && { utilisation: Math.min(1, spent / had) }),
      bytesPerToken: tokens > 0 ? bytes / tokens : 0,
      computeMs: perLease(computeMs),
      stageTokensPerSecond: this.config.stages.map((_, stage) => rateOf(parts?.[stage])),
      queue: perLease(queue),
      mergeBytes: merges,
    };
  }

  /** Bytes that went through the server, in either direction. */
  carried(bytes: number): void {
    this.effort.bytes += bytes;
  }

  /** Of them, those for a merge of this stage. */
  merging(stage: number, way: keyof MergeBytes, bytes: number): void {
    this.effort.merges[stage]![way] += bytes;
  }

  /** A lease whose computing took so long counted. */
  computed({ kind, stage, version, tookMs }: Work, ms: number, now: number): void {
    const { computeMs, leases, queue } = this.effort;
    computeMs[stage]! += ms;
    leases[stage]! += 1;
    queue[stage]! += this.coordinator.queueOf(stage);
    if (kind === 'evaluate') return;
    const parts = this.parts.get(version) ?? this.config.stages.map(() => ({ from: Infinity, to: now, tokens: 0 }));
    this.parts.set(version, parts);
    const part = parts[stage]!;
    part.from = Math.min(part.from, now - tookMs);
    part.to = now;
    if (kind === 'backward') part.tokens += this.config.sequences * this.config.model.context;
  }

  addPoint(point: StepPoint): void {
    this.points = thinned([...this.points, point]);
    this.appended.points += 1;
  }

  /** Something that spectators see. More than anybody can look at is not kept. */
  moved(move: Move): void {
    if (this.moves.length < MOVES_KEPT) this.moves.push(move);
  }

  /** What moved since the last call. */
  takeMoves(): Move[] {
    return this.moves.splice(0);
  }

  addEvent(event: RunEvent): void {
    this.events = newestEvents([...this.events, event]);
    this.appended.events += 1;
  }

  miner(minerId: string, now: number): MinerView | null {
    const record = this.coordinator.miner(minerId);
    const credit = this.coordinator.credit(minerId);
    const seen = this.facts.get(minerId);
    const facts = seen ?? credit?.facts;
    if (!facts) return null;
    const { sequences, model } = this.config;
    return {
      id: minerId,
      name: facts.name,
      device: facts.device ?? null,
      stage: record?.stage ?? null,
      backend: facts.backend,
      adapter: facts.adapter,
      activity: record?.connected && seen ? seen.activity : 'stopped',
      reason: record?.connected && seen ? seen.reason : 'not connected',
      version: record && record.version >= 0 ? record.version : null,
      connected: record?.connected ?? false,
      leases: record?.leases.size ?? 0,
      microbatches: credit?.receipts ?? 0,
      surplus: credit?.surplus ?? 0,
      tokens: (credit?.backwards ?? 0) * sequences * model.context,
      tokensPerSecond: seen?.rate.perSecond(now) ?? 0,
      rejected: (credit?.rejected ?? 0) + (record?.rejected ?? 0),
      waiting: this.waitOf(minerId),
      bannedUntil: credit && credit.bannedUntil > now ? credit.bannedUntil : null,
    };
  }

  /** Miners whose work counted and that are no part of the run now, those that did most first; `limit` at most. */
  gone(now: number, limit: number): MinerView[] {
    const { coordinator } = this;
    const receipts = (id: string) => coordinator.credit(id)?.receipts ?? 0;
    return [...coordinator.credited]
      .filter((id) => receipts(id) > 0 && !coordinator.miner(id))
      .sort((a, b) => receipts(b) - receipts(a))
      .slice(0, limit)
      .map((id) => this.miner(id, now)!);
  }

  /** Why a miner that is here has no lease, or gets none because the log cannot be written. */
  waitOf(minerId: string): Waiting | null {
    const record = this.coordinator.miner(minerId);
    if (!record?.connected) return this.banOf(minerId);
    return this.trouble ?? (record.waiting && { ...record.waiting, ...explain(record.waiting) });
  }

  private banOf(minerId: string): Waiting | null {
    const { banned, bannedUntil } = this.coordinator.credit(minerId) ?? {};
    if (!banned || bannedUntil! <= Date.now()) return null;
    const { code, message } = banned;
    return { ...explain({ code, message: `No leases for a while, also when it comes back: ${message}.` }), since: 0, until: bannedUntil! };
  }

  snapshot(now: number): RunSnapshot {
    const stages = this.coordinator.view().map(({ stage, reason, done, total, miners }): StageView => {
      const { firstLayer, layers } = this.config.stages[stage.index]!;
      return {
        index: stage.index,
        layers: [firstLayer, firstLayer + layers - 1],
        parameters: this.parameters[stage.index]!,
        version: stage.version,
        phase: stage.phase === 'training' && reason ? 'waiting' : stage.phase,
        reason: reason && explain(reason),
        done,
        total: total || this.config.microbatchesPerStep,
        leases: miners.reduce((sum, miner) => sum + miner.leases.size, 0),
        parameterHash: stage.parameterHash,
        miners: miners.map((miner) => this.miner(miner.id, now)).filter((miner) => miner !== null),
      };
    });
    const complete = stages.every((stage) => stage.phase === 'complete');
    const stuck = stages.find((stage) => stage.miners.length === 0 && stage.phase !== 'complete');
    const last = this.points.at(-1);
    return {
      config: this.config,
      phase: complete ? 'complete' : stuck || this.trouble ? 'waiting' : 'training',
      reason: this.trouble ?? stuck?.reason ?? null,
      step: Math.min(...stages.map((stage) => stage.version)),
      tokens: this.tokens,
      tokensPerSecond: complete ? 0 : this.rate.perSecond(now),
      loss: last?.loss ?? null,
      validationLoss: this.points.findLast((point) => point.validationLoss !== null)?.validationLoss ?? null,
      parameters: this.parameters.reduce((sum, size) => sum + size, 0),
      startedAt: this.startedAt,
      stages,
      counters: { ...this.coordinator.counters },
    };
  }
}

const rateOf = (part: Part | undefined): number | null =>
  part && part.tokens > 0 && part.to > part.from ? part.tokens / ((part.to - part.from) / 1_000) : null;
