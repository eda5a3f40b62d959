/**
 * Everything the coordinator knows, and the few operations that keep its parts consistent with each other. What the
 * protocol does with it is in `roster.ts` (who is here), `granting.ts`, `settling.ts` and `useless.ts` (leases), `merging.ts` and `clock.ts`.
 */
import { type ErrorCode, type LeaseKind, type Reason, SwarmError, type Work } from '@starling/protocol';
import { LIMITS } from './constants.ts';
import { Crew, type Place } from './crew.ts';
import { type Cell, type Flow, type Slot, type Task, taskOf } from './flow.ts';
import { ban, type Credit, countLate, type MinerRecord, NO_REPUTATION, newMiner, noCredit, type Reputation } from './miner.ts';
import { enterStagePhase, mergedBefore, newStage, type StageRecord, unitsOf } from './stage.ts';
import type { Step } from './step.ts';
import type { CoordinatorConfig, Effect, MinerFacts, Outcome } from './types.ts';

export interface LeaseRecord {
  id: string;
  kind: LeaseKind;
  stage: number;
  version: number;
  flow: Flow;
  minerId: string;
  round: number;
  sendInput: boolean;
  grantedAt: number;
  deadline: number;
  /**
   * open: its miner works on it. lost: taken away (late, busy, useless) or somebody else was first; its receipt still
   * counts while the task is not settled. forfeited: its result was useless, and no other is taken. counted, surplus: its
   * receipt was taken.
   */
  state: 'open' | 'lost' | 'forfeited' | Outcome;
}

export const slotOf = ({ kind }: Pick<LeaseRecord, 'kind'>): Slot => (kind === 'backward' ? 'backward' : 'forward');

/** Somebody worth waiting for. */
const isHere = (place: Place) => place !== 'out' && place !== 'banned' && place !== 'absent';

export const NO_COUNTS = {
  /** Leases that went to another miner, and accepted backwards whose gradient was lost. */
  handedOver: 0,
  /** Leases that went to an idle miner before theirs had begun them. */
  passedOn: 0,
  /** Leases given to a second miner while the first still works on it. */
  hedged: 0,
  /** Backwards whose input was sent again because its holder could not do them. */
  recomputed: 0,
  /** Gradients that did not come in time, so that others began to compute their microbatches again. */
  redone: 0,
  /** Receipts that came when they were not needed. */
  surplus: 0,
  rejected: 0,
  resynchronised: 0,
  /** Miners moved to another stage. */
  moved: 0,
  bans: 0,
  /** Microbatches left out of their step. */
  abandoned: 0,
};
export type Counters = typeof NO_COUNTS;

export class State {
  config: CoordinatorConfig;
  readonly counters: Counters = { ...NO_COUNTS };
  readonly stages: StageRecord[];
  readonly crews: Crew[];
  readonly miners = new Map<string, MinerRecord>();
  /** Of everybody who ever had a receipt taken, was banned, or went after something was refused. */
  readonly credits = new Map<string, Credit>();
  /** Of everybody who was audited, by device. */
  readonly reputations = new Map<string, Reputation>();
  readonly leases = new Map<string, LeaseRecord>();
  /** At most two are alive, since no stage can be two ahead of another. */
  readonly steps = new Map<number, Step>();
  leaseCount = 0;
  minerCount = 0;
  /** Rounds given out: of all miners together, so that a later one of a miner has the larger number, whatever it was before. */
  roundCount = 0;
  /** Time of the newest input. */
  now: number;
  rebalancedAt: number;

  // ── of the input being handled
  effects: Effect[] = [];
  /** Stages where something changed that can be granted or closed. */
  readonly touched = new Set<number>();
  /** Miners that may now be able to do what waits for them. */
  readonly awake = new Set<MinerRecord>();

  constructor(config: CoordinatorConfig, now: number) {
    if (config.parameterHashes.length !== config.stages) {
      throw new SwarmError('INTERNAL', `${config.parameterHashes.length} parameter hashes for ${config.stages} stages.`);
    }
    this.config = config;
    this.now = now;
    this.rebalancedAt = now;
    this.stages = config.parameterHashes.map((hash, index) => newStage(index, config.stages, config.version, hash, now));
    if (config.overlap) for (const stage of this.stages) stage.merge = mergedBefore(stage.version);
    this.crews = this.stages.map((stage) => new Crew(stage));
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  inform(code: string, message: string, level: 'info' | 'warning' = 'info'): void {
    this.effects.push({ type: 'event', level, code, message });
  }

  refuse(minerId: string, code: ErrorCode, message: string, leaseId: string | null = null): void {
    this.counters.rejected += 1;
    const miner = this.miners.get(minerId);
    if (miner) miner.rejected += 1;
    const lease = leaseId === null ? undefined : this.leases.get(leaseId);
    const work = lease?.minerId === minerId ? this.workOf(lease) : null;
    this.effects.push({ type: 'refuse', minerId, code, message, leaseId, work });
  }

  /** What is given up goes into the miner's history, with the reason. */
  lapse(minerId: string, code: ErrorCode, message: string, lease: LeaseRecord | null = null): void {
    this.effects.push({ type: 'lapse', minerId, code, message, leaseId: lease?.id ?? null, work: lease && this.workOf(lease) });
  }

  workOf({ kind, stage, version, flow, grantedAt }: LeaseRecord): Work {
    return { kind, stage, version, microbatch: flow.microbatch, tookMs: this.now - grantedAt };
  }

  /** Throws `NOT_JOINED`. */
  known(minerId: string): MinerRecord {
    const miner = this.miners.get(minerId);
    if (!miner) throw new SwarmError('NOT_JOINED', `Miner ${minerId} is not part of the run (any more).`);
    return miner;
  }

  nextRound(): number {
    return ++this.roundCount;
  }

  creditOf({ id, facts }: MinerRecord): Credit {
    const credit = this.credits.get(id) ?? noCredit(facts);
    this.credits.set(id, credit);
    return credit;
  }

  /** Whose reputation a miner's work is: its device's; its own while it has none, or nothing is known of it. */
  ownerOf(minerId: string): string {
    const facts = this.miners.get(minerId)?.facts ?? this.credits.get(minerId)?.facts;
    return facts?.device ?? minerId;
  }

  reputationOf(minerId: string): Reputation {
    const owner = this.ownerOf(minerId);
    const reputation = this.reputations.get(owner) ?? { ...NO_REPUTATION };
    this.reputations.set(owner, reputation);
    return reputation;
  }

  /** Its device was found false: nothing that it has done until now says anything for it. */
  distrust(minerId: string): void {
    const falseVersion = Math.max(...this.stages.map(({ version }) => version));
    Object.assign(this.reputationOf(minerId), { passedAudits: 0, cleanSteps: 0, falseVersion } satisfies Partial<Reputation>);
  }

  /** How much it has proved, up to what matters: whose word counts, and whose fault it was. */
  trustIn(minerId: string): number {
    return Math.min(LIMITS.trustedSteps, this.reputations.get(this.ownerOf(minerId))?.cleanSteps ?? 0);
  }

  stageOf(miner: MinerRecord): StageRecord {
    return this.stages[miner.stage]!;
  }

  crewOf(miner: MinerRecord): Crew {
    return this.crews[miner.stage]!;
  }

  stepOf(stage: StageRecord): Step | undefined {
    return this.steps.get(stage.version);
  }

  flowsOf(stage: StageRecord): readonly Flow[] {
    return this.stepOf(stage)?.flows ?? [];
  }

  addMiner(id: string, facts: MinerFacts, stage: StageRecord): MinerRecord {
    const miner = newMiner(id, this.minerCount++, facts, stage.index, this.now);
    this.miners.set(id, miner);
    this.station(miner, stage.index);
    return miner;
  }

  /** Puts a miner into the crew of a stage, and out of that of its old one. More miners may have more under way at once. */
  station(miner: MinerRecord, stage: number): void {
    this.dismiss(miner);
    miner.stage = stage;
    this.crews[stage]!.add(miner);
    this.touched.add(stage);
  }

  dismiss(miner: MinerRecord): void {
    this.crewOf(miner).remove(miner);
    this.touched.add(0);
  }

  /** To be called after every change of a miner that bears on what it can be given. */
  refresh(miner: MinerRecord): void {
    const crew = this.crewOf(miner);
    crew.place(miner);
    this.touched.add(miner.stage);
    const step = this.stepOf(crew.stage);
    if (!step?.pinned.has(miner.id)) return;
    const place = crew.placeOf(miner);
    if (!isHere(place)) step.unpin(miner.id, miner.stage);
    else this.awake.add(miner);
  }

  /** Counts the miner as late, `why`. Returns the length in ms of the ban that follows, or 0. */
  blame(miner: MinerRecord, why: Reason): number {
    const length = countLate(miner, this.creditOf(miner), this.now, why);
    if (length > 0) this.tellBan(miner.id, length, why);
    this.refresh(miner);
    return length;
  }

  /** At least so long, whether it is here or not. One that is gone must have a credit. */
  banFor(minerId: string, ms: number, why: Reason): void {
    const miner = this.miners.get(minerId);
    const credit = miner ? this.creditOf(miner) : this.credits.get(minerId)!;
    credit.bans += 1;
    credit.bannedUntil = Math.max(credit.bannedUntil, this.now + ms);
    credit.banned = why;
    this.tellBan(minerId, ms, why);
    if (!miner) return;
    ban(miner, credit);
    this.refresh(miner);
  }

  private tellBan(minerId: string, ms: number, { message }: Reason): void {
    this.counters.bans += 1;
    this.inform('MINER_BANNED', `Miner ${minerId} gets no leases for ${ms / 1000} s: ${message}.`, 'warning');
  }

  /** There are tasks again; a stage that is complete stays so. */
  backToTraining(stage: StageRecord): void {
    if (stage.phase === 'merging') enterStagePhase(stage, 'training', this.now);
  }

  // ── tasks and leases ──────────────────────────────────────────────────────────────────────────

  taskOf(lease: LeaseRecord): Task {
    return taskOf(lease.flow, lease.stage, slotOf(lease));
  }

  /** Who keeps the input of this cell, and so how many inputs it keeps. The task must not be pinned to another. */
  setHolder(cell: Cell, minerId: string | null): void {
    if (cell.holder === minerId) return;
    for (const [id, change] of [
      [cell.holder, -1],
      [minerId, 1],
    ] as const) {
      const miner = id === null ? undefined : this.miners.get(id);
      if (!miner) continue;
      miner.kept += change;
      this.refresh(miner);
    }
    cell.holder = minerId;
  }

  /** The input of a task is there. */
  unblock(flow: Flow, stage: number, slot: Slot): void {
    if (flow.abandoned) return;
    const holder = slot === 'backward' ? flow.cells[stage]!.holder : null;
    const miner = holder === null ? undefined : this.miners.get(holder);
    const place = miner ? this.crews[stage]!.placeOf(miner) : 'out';
    const pinned = miner && isHere(place) ? miner : null;
    this.steps.get(flow.step)?.unblock(flow, stage, slot, pinned?.id ?? null);
    if (pinned) this.awake.add(pinned);
    this.touched.add(stage);
  }

  /** Makes a task runnable again, or drops it when its microbatch was given up. */
  reopen(flow: Flow, stage: number, slot: Slot, avoid: string | null = null): void {
    const step = this.steps.get(flow.step)!;
    if (flow.abandoned) step.settle(flow, stage, slot, 'dropped', null, this.now);
    else step.reopen(flow, stage, slot, avoid);
    this.touched.add(stage);
  }

  /**
   * The lease is no longer its miner's. Without another open lease its task is free for somebody else; `as` tells whether
   * its miner may have computed on it (`handedOver`) or gave it back as it was given (`passedOn`).
   */
  lose(lease: LeaseRecord, avoid: string | null = null, as: 'handedOver' | 'passedOn' = 'handedOver'): void {
    lease.state = 'lost';
    const miner = this.miners.get(lease.minerId);
    if (miner?.leases.delete(lease.id)) this.settleQueue(miner);
    const task = this.taskOf(lease);
    const index = task.open.indexOf(lease.id);
    if (index < 0) return;
    task.open.splice(index, 1);
    const { flow, stage } = lease;
    const cell = flow.cells[stage]!;
    if (slotOf(lease) === 'backward' && cell.holder === lease.minerId) this.setHolder(cell, null);
    if (task.open.length > 0) return;
    this.counters[as] += 1;
    this.reopen(flow, stage, slotOf(lease), avoid);
  }

  /** Somebody else was faster, or the task is not needed: whoever works on it may stop. */
  cancel(task: Task): void {
    for (const id of task.open.splice(0)) {
      const lease = this.leases.get(id)!;
      lease.state = 'lost';
      this.emit({ type: 'cancel', minerId: lease.minerId, leaseId: id });
      const miner = this.miners.get(lease.minerId)!;
      miner.leases.delete(id);
      this.settleQueue(miner);
    }
  }

  emitGrant({ id, kind, stage, version, flow, round, sendInput, deadline, minerId }: LeaseRecord): void {
    const deadlineMs = Math.max(0, deadline - this.now);
    this.emit({ type: 'grant', minerId, lease: { id, kind, stage, version, microbatch: flow.microbatch, round, deadlineMs, sendInput } });
  }

  /** What a miner has left to do begins now: the charge made at the grant gives way to what is known. */
  settleQueue(miner: MinerRecord): void {
    let end = this.now;
    for (const id of miner.leases) end += this.expectedMs(miner, slotOf(this.leases.get(id)!));
    miner.queueEnd = end;
    this.refresh(miner);
  }

  expectedMs(miner: MinerRecord, slot: Slot): number {
    return unitsOf(this.stageOf(miner), slot) * miner.pace;
  }
}
