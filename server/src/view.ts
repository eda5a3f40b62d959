/** The run as pages see it: kept beside the coordinator, which knows nothing of names, rates or charts. */
import type { Coordinator } from '@starling/coordinator';
import {
  type Activity,
  type Backend,
  type MinerView,
  Rate,
  type RunConfig,
  type RunEvent,
  type RunSnapshot,
  type StageView,
  type StepPoint,
} from '@starling/protocol';

const POINTS_KEPT = 5_000;
const EVENTS_KEPT = 300;
/** Miners remembered, beyond those that are here. */
const MINERS_KEPT = 5_000;

interface MinerFacts {
  name: string;
  backend: Backend;
  adapter: string;
  activity: Activity;
  reason: string | null;
  tokens: number;
  rate: Rate;
}

export interface ViewState {
  points: StepPoint[];
  tokens: number;
  startedAt: number;
}

export class RunView {
  readonly config: RunConfig;
  readonly points: StepPoint[];
  readonly events: RunEvent[] = [];
  /** Points and events ever appended: how a feed tells what is new. */
  appended = { points: 0, events: 0 };
  tokens: number;
  readonly startedAt: number;
  private readonly coordinator: Coordinator;
  private readonly parameters: number[];
  private readonly facts = new Map<string, MinerFacts>();
  private readonly rate = new Rate();

  constructor(config: RunConfig, coordinator: Coordinator, parameters: number[], state: ViewState) {
    this.config = config;
    this.coordinator = coordinator;
    this.parameters = parameters;
    this.points = state.points;
    this.appended.points = state.points.length;
    this.tokens = state.tokens;
    this.startedAt = state.startedAt;
  }

  joined(minerId: string, facts: Pick<MinerFacts, 'name' | 'backend' | 'adapter'>): void {
    const known = this.facts.get(minerId);
    this.facts.set(minerId, { activity: 'downloading', reason: null, tokens: 0, rate: new Rate(), ...known, ...facts });
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
    const facts = this.facts.get(minerId);
    if (!facts) return;
    facts.tokens += tokens;
    facts.rate.add(tokens, now);
  }

  /** Tokens that passed the whole model. */
  trained(tokens: number, now: number): void {
    this.tokens += tokens;
    this.rate.add(tokens, now);
  }

  addPoint(point: StepPoint): void {
    this.points.push(point);
    if (this.points.length > POINTS_KEPT) this.points.shift();
    this.appended.points += 1;
  }

  addEvent(event: RunEvent): void {
    this.events.push(event);
    if (this.events.length > EVENTS_KEPT) this.events.shift();
    this.appended.events += 1;
  }

  tokensPerSecond(now: number): number {
    return this.rate.perSecond(now);
  }

  miner(minerId: string, now: number): MinerView | null {
    const facts = this.facts.get(minerId);
    if (!facts) return null;
    const record = this.coordinator.miner(minerId);
    return {
      id: minerId,
      name: facts.name,
      stage: record?.stage ?? null,
      backend: facts.backend,
      adapter: facts.adapter,
      activity: record?.connected ? facts.activity : 'stopped',
      reason: record?.connected ? facts.reason : 'not connected',
      version: record && record.version >= 0 ? record.version : null,
      connected: record?.connected ?? false,
      leases: record?.leases.size ?? 0,
      microbatches: record?.receipts ?? 0,
      tokens: facts.tokens,
      tokensPerSecond: facts.rate.perSecond(now),
      rejected: record?.rejected ?? 0,
    };
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
        reason: reason?.message ?? null,
        done,
        total: total || this.config.microbatchesPerStep,
        parameterHash: stage.parameterHash,
        miners: miners.map((miner) => this.miner(miner.id, now)).filter((miner) => miner !== null),
      };
    });
    const complete = stages.every((stage) => stage.phase === 'complete');
    const stuck = stages.find((stage) => stage.miners.length === 0 && stage.phase !== 'complete');
    const last = this.points.at(-1);
    return {
      config: this.config,
      phase: complete ? 'complete' : stuck ? 'waiting' : 'training',
      reason: stuck?.reason ?? null,
      step: Math.min(...stages.map((stage) => stage.version)),
      tokens: this.tokens,
      tokensPerSecond: complete ? 0 : this.tokensPerSecond(now),
      loss: last?.loss ?? null,
      validationLoss: this.points.findLast((point) => point.validationLoss !== null)?.validationLoss ?? null,
      parameters: this.parameters.reduce((sum, size) => sum + size, 0),
      startedAt: this.startedAt,
      stages,
      counters: { ...this.coordinator.counters },
    };
  }
}
