/**
 * The orchestrator's protocol as a pure state machine: what the world said goes in, what to do comes out. Time is
 * an argument, and there is no I/O, so the same code runs behind sockets and in a test's virtual second.
 *
 * Every stage walks its own steps: version n → (leases of step n) → collect → reduce → version n + 1. A stage waits
 * for nobody but its own microbatches; activations and gradients arriving from its neighbours drive it.
 *
 * It owns who holds which stage, every lease, and which microbatch counts. It never sees a tensor: tensors are named
 * by hash, checked by the gateway before a receipt gets here. A lost message costs one lease, nothing else.
 */
import { type ErrorCode, type LeaseKind, SwarmError } from '@starling/protocol';
import { LIMITS } from './constants.ts';
import { type Flow, newFlow, nextTask, type Slot, type Task, taskOf } from './flow.ts';
import { countLate, enterPhase, learnSpeed, type MinerRecord, newMiner } from './miner.ts';
import { chooseMiner, chooseMover, expectedLeaseMs, placeNewcomer, type Staffed } from './policy.ts';
import { minerReason, type Reason, stageReason } from './reasons.ts';
import { newStage, progressOf, type StageRecord, uncontributed } from './stage.ts';
import { Step } from './step.ts';
import type { CoordinatorConfig, Effect, Input } from './types.ts';

interface LeaseRecord {
  id: string;
  kind: LeaseKind;
  stage: number;
  version: number;
  flow: Flow;
  minerId: string;
  sendInput: boolean;
  grantedAt: number;
  deadline: number;
  /** late: the deadline passed, the task is free again, but whoever finishes first counts. */
  state: 'open' | 'late' | 'accepted';
}

type Of<T extends Input['type']> = Extract<Input, { type: T }>;

const slotOf = (lease: LeaseRecord): Slot => (lease.kind === 'backward' ? 'backward' : 'forward');
const leasedTask = (lease: LeaseRecord): Task => taskOf(lease.flow, lease.stage, slotOf(lease));

export class Coordinator {
  readonly config: CoordinatorConfig;
  readonly counters = { handedOver: 0, recomputed: 0, rejected: 0, resynchronised: 0, moved: 0 };
  private readonly stages: StageRecord[];
  private readonly miners = new Map<string, MinerRecord>();
  /** The miners of each stage. */
  private readonly teams: Map<string, MinerRecord>[];
  /** Stages where this input changed what can be granted or closed. */
  private readonly touched = new Set<number>();
  private readonly leases = new Map<string, LeaseRecord>();
  /** At most two are alive, since no stage can be two ahead of another. */
  private readonly steps = new Map<number, Step>();
  private leaseCount = 0;
  private effects: Effect[] = [];
  private now = 0;

  constructor(config: CoordinatorConfig) {
    this.config = config;
    this.stages = config.parameterHashes.map((hash, index) => newStage(index, config.version, hash));
    this.teams = this.stages.map(() => new Map());
    for (const stage of this.stages) this.completeAtEnd(stage);
    if (config.parameterHashes.length !== config.stages) {
      throw new SwarmError('INTERNAL', `${config.parameterHashes.length} parameter hashes for ${config.stages} stages.`);
    }
  }

  /** Applies one input. An input that does not fit yields one `refuse` effect and changes nothing but the count of refusals. */
  handle(input: Input, now: number): Effect[] {
    this.effects = [];
    this.now = now;
    try {
      this.apply(input, now);
    } catch (error) {
      if (!(error instanceof SwarmError) || !('minerId' in input)) throw error;
      this.refuse(input.minerId, error.code, error.message);
      return this.effects;
    }
    this.fillEmptyStage();
    this.openStep();
    for (const index of [...this.touched].sort((a, b) => a - b)) {
      this.closeStep(this.stages[index]!, now);
      this.dispatch(this.stages[index]!, now);
    }
    this.touched.clear();
    // Reasons are for people: with the clock, not with every input.
    if (input.type === 'tick') this.explainWaits(now);
    return this.effects;
  }

  /** Throws `SwarmError` before anything was changed when the input does not fit. */
  private apply(input: Input, now: number): void {
    switch (input.type) {
      case 'join':
        this.join(input, now);
        break;
      case 'disconnect':
        this.disconnect(input, now);
        break;
      case 'leave':
        this.leave(input);
        break;
      case 'ready':
        this.ready(input);
        break;
      case 'receipt':
        this.receipt(input, now);
        break;
      case 'forfeit':
        this.forfeit(input, now);
        break;
      case 'contribution':
        this.contribution(input);
        break;
      case 'spoiled':
        this.spoiled(input, now);
        break;
      case 'merged':
        this.merged(input);
        break;
      case 'applied':
        this.applied(input);
        break;
      case 'tick':
        this.tick(now);
        break;
    }
  }

  // ── who is here ───────────────────────────────────────────────────────────────────────────────

  private join({ minerId, holding }: Of<'join'>, now: number): void {
    const known = this.miners.get(minerId);
    if (!known) {
      const { stage, members } = placeNewcomer(this.staff());
      // At the back of the queue, not at its head: an unknown miner must not draw everything (SWARM did that).
      const busyUntil = Math.max(now, ...[...members.values()].map((miner) => miner.busyUntil));
      const miner = newMiner(minerId, stage.index, busyUntil);
      this.miners.set(minerId, miner);
      this.teams[stage.index]!.set(minerId, miner);
      this.assign(miner, 'joined');
      this.inform('MINER_JOINED', `Miner ${minerId} joined at stage ${stage.index}.`);
      return;
    }
    known.connected = true;
    known.waitingFor = null;
    this.touched.add(known.stage);
    const stage = this.stages[known.stage]!;
    const kept =
      holding !== null && holding.stage === known.stage && (holding.version === known.version || holding.version === stage.version);
    if (!kept || known.phase === 'loading') {
      this.dropWork(known);
      this.assign(known, 'came back without its stage');
      return;
    }
    if (known.phase === 'applying') this.effects.push({ type: 'distribute', minerId, stage: stage.index, version: stage.version });
    for (const id of known.leases) this.grantEffect(this.leases.get(id)!, now);
    const microbatches = stage.collecting.get(minerId);
    if (microbatches) this.effects.push({ type: 'collect', minerId, stage: stage.index, version: stage.version, microbatches });
  }

  private disconnect({ minerId }: Of<'disconnect'>, now: number): void {
    const miner = this.miners.get(minerId);
    if (!miner) return;
    miner.connected = false;
    miner.goneAt = now + LIMITS.reconnectGrace;
  }

  private leave({ minerId }: Of<'leave'>): void {
    if (!this.miners.has(minerId)) return;
    this.remove(minerId);
    this.inform('MINER_LEFT', `Miner ${minerId} left; what it held went to others.`);
  }

  private remove(minerId: string): void {
    const miner = this.miners.get(minerId);
    if (!miner) return;
    this.dropWork(miner);
    this.miners.delete(minerId);
    this.teams[miner.stage]!.delete(minerId);
  }

  /** Gives back everything that exists only with this miner: its leases, and gradients it has not handed in. */
  private dropWork(miner: MinerRecord): void {
    const stage = this.stages[miner.stage]!;
    this.touched.add(stage.index);
    for (const id of miner.leases) {
      this.reopen(this.leases.get(id)!);
      this.counters.handedOver += 1;
    }
    for (const [id, lease] of this.leases) if (lease.minerId === miner.id) this.leases.delete(id);
    miner.leases.clear();
    for (const { flow } of uncontributed(this.flowsOf(stage), stage.index, miner.id)) {
      this.steps.get(stage.version)!.reopen(flow, stage.index, 'backward');
      this.counters.handedOver += 1;
    }
    for (const flow of this.flowsOf(stage)) {
      const cell = flow.cells[stage.index]!;
      if (cell.holder === miner.id) cell.holder = null;
    }
    if (stage.collecting.delete(miner.id)) stage.phase = 'training';
  }

  private assign(miner: MinerRecord, why: string): void {
    const stage = this.stages[miner.stage]!;
    enterPhase(miner, 'loading', this.now);
    miner.version = -1;
    miner.waitingFor = null;
    this.effects.push({ type: 'assign', minerId: miner.id, stage: stage.index, version: stage.version, why });
  }

  private ready({ minerId, stage: index, version, parameterHash }: Of<'ready'>): void {
    const miner = this.known(minerId);
    this.touched.add(miner.stage);
    if (miner.stage !== index || miner.phase !== 'loading') return; // answers an assignment that was replaced meanwhile
    const stage = this.stages[index]!;
    if (version < stage.version - 1) {
      this.assign(miner, 'the stage moved on while it was fetched');
      return;
    }
    miner.version = version;
    if (version === stage.version - 1) {
      enterPhase(miner, 'applying', this.now);
      this.effects.push({ type: 'distribute', minerId, stage: index, version: stage.version });
    } else if (parameterHash !== stage.parameterHash) {
      this.diverged(miner, stage);
    } else {
      enterPhase(miner, 'ready', this.now);
    }
  }

  private applied({ minerId, stage: index, version, parameterHash }: Of<'applied'>): void {
    const miner = this.known(minerId);
    const stage = this.stages[miner.stage]!;
    if (stage.index !== index || miner.phase !== 'applying' || version !== stage.version) return;
    this.touched.add(index);
    if (parameterHash === stage.parameterHash) {
      miner.version = version;
      enterPhase(miner, 'ready', this.now);
    } else {
      this.diverged(miner, stage);
    }
  }

  private diverged(miner: MinerRecord, stage: StageRecord): void {
    this.counters.resynchronised += 1;
    const message = `Miner ${miner.id} has other parameters than stage ${stage.index} at version ${stage.version}; it fetches the stage again.`;
    this.effects.push({ type: 'event', level: 'warning', code: 'PARAMETERS_DIVERGED', message });
    this.refuse(miner.id, 'PARAMETERS_DIVERGED', message);
    this.dropWork(miner);
    this.assign(miner, 'its parameters differed');
  }

  private fillEmptyStage(): void {
    if (!this.stages.some((stage) => stage.phase !== 'complete' && this.teams[stage.index]!.size === 0)) return;
    const choice = chooseMover(this.staff(), (miner) => {
      const flows = this.flowsOf(this.stages[miner.stage]!);
      return miner.leases.size + uncontributed(flows, miner.stage, miner.id).length;
    });
    if (!choice) return;
    const { mover, to } = choice;
    const message = `Miner ${mover.id} moved from stage ${mover.stage} to stage ${to.index}, which had nobody left.`;
    this.dropWork(mover);
    this.teams[mover.stage]!.delete(mover.id);
    this.teams[to.index]!.set(mover.id, mover);
    mover.stage = to.index;
    this.counters.moved += 1;
    this.assign(mover, `stage ${to.index} had nobody left`);
    this.inform('MINER_MOVED', message);
  }

  // ── work ──────────────────────────────────────────────────────────────────────────────────────

  /** The miner's own lease, not yet settled by anybody. Throws the code that tells why not. */
  private unsettled(minerId: string, leaseId: string): LeaseRecord {
    const lease = this.leases.get(leaseId);
    if (!lease) throw new SwarmError('LEASE_UNKNOWN', `Lease ${leaseId} is not known (any more).`);
    if (lease.minerId !== minerId) throw new SwarmError('LEASE_NOT_YOURS', `Lease ${leaseId} was granted to another miner.`);
    if (lease.state === 'accepted') throw new SwarmError('RECEIPT_DUPLICATE', `Lease ${leaseId} was already settled.`);
    if (leasedTask(lease).state === 'done') {
      throw new SwarmError(
        'LEASE_EXPIRED',
        `Lease ${leaseId} was late, and another miner has finished microbatch ${lease.flow.microbatch}.`,
      );
    }
    return lease;
  }

  private receipt(input: Of<'receipt'>, now: number): void {
    const { minerId, leaseId } = input;
    const miner = this.known(minerId);
    const lease = this.unsettled(minerId, leaseId);
    const { flow, kind } = lease;
    const { leaseId: current } = leasedTask(lease);
    const stage = this.stages[lease.stage]!;
    const step = this.steps.get(flow.step)!;
    if (current !== null && current !== leaseId) this.cancel(current);
    step.settle(flow, lease.stage, slotOf(lease), { leaseId, minerId });
    miner.leases.delete(leaseId);
    if (lease.state === 'open') miner.late = 0;
    lease.state = 'accepted';
    miner.receipts += 1;
    learnSpeed(miner, kind, input.computeMs);
    stage.times.add(kind, now - lease.grantedAt);
    if (miner.leases.size === 0) miner.busyUntil = now;

    const cell = flow.cells[lease.stage]!;
    if (kind === 'forward') cell.holder = minerId;
    if (kind === 'backward') {
      cell.holder = null;
      miner.backwards += 1;
    }
    if (lease.stage === this.stages.length - 1) flow.lossSum = input.lossSum;
    this.touched.add(lease.stage);
    const next = nextTask(flow, lease.stage, slotOf(lease));
    if (!next) return;
    step.unblock(flow, next.stage, next.slot);
    this.touched.add(next.stage);
  }

  private forfeit({ minerId, leaseId, code, message }: Of<'forfeit'>, now: number): void {
    this.known(minerId);
    const lease = this.unsettled(minerId, leaseId);
    this.refuse(minerId, code, message);
    if (lease.state === 'open') this.handOver(lease, now, message);
  }

  private reopen(lease: LeaseRecord, avoid: string | null = null): void {
    this.steps.get(lease.flow.step)!.reopen(lease.flow, lease.stage, slotOf(lease), avoid);
  }

  /** Somebody else was faster: this lease is void. */
  private cancel(leaseId: string): void {
    const lease = this.leases.get(leaseId);
    if (!lease) return;
    this.miners.get(lease.minerId)?.leases.delete(leaseId);
    this.touched.add(lease.stage);
    this.effects.push({ type: 'cancel', minerId: lease.minerId, leaseId });
  }

  private dispatch(stage: StageRecord, now: number): void {
    if (stage.phase !== 'training') return;
    const members = this.teams[stage.index]!;
    // Backward first (1F1B): it frees memory and lets the stage below go on.
    for (const slot of ['backward', 'forward'] as const) {
      this.steps.get(stage.version)?.offer(stage.index, slot, (flow) => {
        const cell = flow.cells[stage.index]!;
        const miner = chooseMiner({ stage, members }, cell, slot, now);
        if (miner) {
          this.grant(stage, flow, slot, miner, now);
          return 'granted';
        }
        // Whoever has no wish as to its miner and gets none: nobody has a lease free.
        const wishes = cell[slot]!.avoid !== null || (slot === 'backward' && cell.holder !== null);
        return wishes ? 'later' : 'stop';
      });
    }
  }

  private grant(stage: StageRecord, flow: Flow, slot: Slot, miner: MinerRecord, now: number): void {
    const cell = flow.cells[stage.index]!;
    const kind: LeaseKind = flow.purpose === 'validate' ? 'evaluate' : slot;
    const held = slot === 'backward' && cell.holder === miner.id;
    if (slot === 'backward' && cell.forward && !held) this.counters.recomputed += 1;
    const lease: LeaseRecord = {
      id: `${this.config.leasePrefix}-${++this.leaseCount}`,
      kind,
      stage: stage.index,
      version: stage.version,
      flow,
      minerId: miner.id,
      sendInput: !held,
      grantedAt: now,
      deadline: now + stage.times.deadline(kind),
      state: 'open',
    };
    this.leases.set(lease.id, lease);
    Object.assign(cell[slot]!, { state: 'leased', leaseId: lease.id, minerId: miner.id } satisfies Partial<Task>);
    miner.leases.add(lease.id);
    miner.waitingFor = null;
    miner.busyUntil = Math.max(now, miner.busyUntil) + expectedLeaseMs(miner, stage, slot);
    this.grantEffect(lease, now);
  }

  private grantEffect(lease: LeaseRecord, now: number): void {
    const { id, kind, stage, version, flow, minerId, sendInput, deadline } = lease;
    this.effects.push({
      type: 'grant',
      minerId,
      lease: { id, kind, stage, version, microbatch: flow.microbatch, deadlineMs: deadline - now, sendInput },
    });
  }

  // ── steps ─────────────────────────────────────────────────────────────────────────────────────

  /** The first stage reaching a version opens its step for all. */
  private openStep(): void {
    const { microbatchesPerStep: size, validationMicrobatches, validateEvery, steps, stages } = this.config;
    const first = this.stages[0]!;
    const step = first.version;
    if (first.phase !== 'training' || this.steps.has(step)) return;
    const validate = validationMicrobatches > 0 && (step % validateEvery === 0 || step === steps - 1);
    this.touched.add(0);
    const flows = [
      ...Array.from({ length: size }, (_, i) => newFlow(step, 'train', step * size + i, stages)),
      ...Array.from({ length: validate ? validationMicrobatches : 0 }, (_, i) => newFlow(step, 'validate', i, stages)),
    ];
    this.steps.set(step, new Step(flows, stages));
  }

  private closeStep(stage: StageRecord, now: number): void {
    // Gradients asked for before a contributor was lost come in first; what was redone is collected after them.
    if (stage.phase !== 'training' || stage.collecting.size > 0) return;
    if (!this.steps.get(stage.version)?.settledAt(stage.index)) return;
    stage.phase = 'merging';
    stage.collectDeadline = now + LIMITS.collectDeadline;
    for (const { flow, cell } of uncontributed(this.flowsOf(stage), stage.index)) {
      const minerId = cell.backward!.minerId!;
      const known = stage.collecting.get(minerId);
      if (known) known.push(flow.microbatch);
      else stage.collecting.set(minerId, [flow.microbatch]);
    }
    for (const [minerId, microbatches] of stage.collecting) {
      this.effects.push({ type: 'collect', minerId, stage: stage.index, version: stage.version, microbatches });
    }
    this.reduceWhenComplete(stage);
  }

  private contribution({ minerId, stage: index, version, microbatches, gradient }: Of<'contribution'>): void {
    const miner = this.known(minerId);
    const { stage, expected } = this.expectedFrom(minerId, index, version);
    const sorted = [...microbatches].sort((a, b) => a - b);
    if (sorted.length !== expected.length || sorted.some((microbatch, i) => microbatch !== expected[i])) {
      this.refuse(minerId, 'CONTRIBUTION_MISMATCH', `Expected the gradient over microbatches [${expected}], got [${sorted}].`);
      this.dropWork(miner);
      this.assign(miner, 'its gradient covered other microbatches');
      return;
    }
    stage.collecting.delete(minerId);
    this.touched.add(index);
    for (const { flow, cell } of uncontributed(this.flowsOf(stage), index, minerId)) {
      if (expected.includes(flow.microbatch)) cell.contributed = true;
    }
    stage.contributions.push({ minerId, gradient, microbatches: expected });
    this.reduceWhenComplete(stage);
  }

  /** Useless gradient: its microbatches are redone by others, and its miner fetches the stage anew after a time-out. */
  private spoiled({ minerId, stage: index, version, code, message }: Of<'spoiled'>, now: number): void {
    const miner = this.known(minerId);
    this.expectedFrom(minerId, index, version);
    this.refuse(minerId, code, message);
    this.effects.push({ type: 'event', level: 'warning', code, message: `Gradient of miner ${minerId} was left out: ${message}` });
    miner.late = Math.max(miner.late, LIMITS.lateBeforeTimeout - 1);
    countLate(miner, now);
    this.dropWork(miner);
    this.assign(miner, 'its gradient was not usable');
  }

  private expectedFrom(minerId: string, index: number, version: number): { stage: StageRecord; expected: number[] } {
    const stage = this.stages[index];
    const expected = stage?.version === version ? stage.collecting.get(minerId) : undefined;
    if (stage && expected) return { stage, expected };
    throw new SwarmError('CONTRIBUTION_UNEXPECTED', `Stage ${index} collects nothing from this miner at version ${version}.`);
  }

  private reduceWhenComplete(stage: StageRecord): void {
    if (stage.collecting.size > 0 || stage.phase !== 'merging') return;
    // A fixed order that depends on nobody's name or speed: by the first microbatch covered.
    const contributions = [...stage.contributions].sort((a, b) => a.microbatches[0]! - b.microbatches[0]!);
    const covered = contributions.reduce((n, { microbatches }) => n + microbatches.length, 0);
    this.effects.push({
      type: 'reduce',
      stage: stage.index,
      version: stage.version,
      tokens: covered * this.config.tokensPerMicrobatch,
      contributions,
    });
  }

  private merged({ stage: index, version, parameterHash }: Of<'merged'>): void {
    const stage = this.stages[index]!;
    if (version !== stage.version + 1) return;
    this.touched.add(index);
    this.effects.push({ type: 'release', stage: index, version: stage.version });
    Object.assign(stage, { version, parameterHash, phase: 'training', contributions: [] } satisfies Partial<StageRecord>);
    this.completeAtEnd(stage);
    for (const [id, lease] of this.leases) if (lease.stage === index && lease.version < version - 1) this.leases.delete(id);
    for (const miner of this.teams[index]!.values()) {
      if (miner.phase === 'ready') {
        enterPhase(miner, 'applying', this.now);
        this.effects.push({ type: 'distribute', minerId: miner.id, stage: index, version });
      } else if (miner.phase === 'applying') {
        this.assign(miner, 'it fell a whole step behind');
      }
    }
    this.reportClosed(version);
  }

  private completeAtEnd(stage: StageRecord): void {
    if (this.config.steps > 0 && stage.version >= this.config.steps) stage.phase = 'complete';
  }

  private reportClosed(version: number): void {
    if (this.stages.some((stage) => stage.version < version)) return;
    const step = version - 1;
    const { flows } = this.steps.get(step)!;
    const sum = (purpose: Flow['purpose']) => {
      const chosen = flows.filter((flow) => flow.purpose === purpose);
      return { lossSum: chosen.reduce((total, flow) => total + flow.lossSum!, 0), tokens: chosen.length * this.config.tokensPerMicrobatch };
    };
    const validation = sum('validate');
    this.effects.push({ type: 'closed', step, ...sum('train'), validation: validation.tokens > 0 ? validation : null });
    this.steps.delete(step);
  }

  // ── time ──────────────────────────────────────────────────────────────────────────────────────

  private tick(now: number): void {
    for (const stage of this.stages) this.touched.add(stage.index); // time-outs end by the clock
    for (const miner of [...this.miners.values()]) {
      if (!miner.connected && miner.goneAt <= now) {
        this.remove(miner.id);
        this.inform('MINER_GONE', `Miner ${miner.id} is gone; what it held went to others.`);
      } else if (miner.phase !== 'ready' && miner.phaseSince + LIMITS.phaseDeadline <= now) {
        // Its place is given up; when it speaks again it is told that it is not part of the run, and joins anew.
        this.remove(miner.id);
        this.inform(
          'MINER_STALLED',
          `Miner ${miner.id} was ${miner.phase} for ${LIMITS.phaseDeadline / 60_000} minutes; its place went to others.`,
        );
      }
    }
    for (const lease of this.leases.values())
      if (lease.state === 'open' && lease.deadline <= now) this.handOver(lease, now, 'its deadline passed.');
    for (const stage of this.stages) {
      if (stage.collecting.size === 0 || stage.collectDeadline > now) continue;
      for (const minerId of [...stage.collecting.keys()]) {
        const miner = this.miners.get(minerId)!;
        countLate(miner, now);
        this.dropWork(miner);
        this.assign(miner, 'its gradient did not arrive in time');
        this.effects.push({
          type: 'event',
          level: 'warning',
          code: 'CONTRIBUTION_LATE',
          message: `Miner ${minerId} did not hand in its gradient in time; its microbatches are redone.`,
        });
      }
    }
  }

  /** Takes the lease from its miner, which counts as late, and opens the task for another. */
  private handOver(lease: LeaseRecord, now: number, why: string): void {
    const miner = this.miners.get(lease.minerId)!;
    this.touched.add(lease.stage);
    lease.state = 'late';
    miner.leases.delete(lease.id);
    if (leasedTask(lease).leaseId !== lease.id) return; // it was cancelled when somebody else finished first
    this.reopen(lease, miner.id);
    this.counters.handedOver += 1;
    const cell = lease.flow.cells[lease.stage]!;
    if (cell.holder === miner.id) cell.holder = null;
    const pause = countLate(miner, now);
    const message =
      `Microbatch ${lease.flow.microbatch} at stage ${lease.stage} goes from miner ${miner.id} to another: ${why}` +
      (pause ? ` No leases for it for ${pause / 1000} s.` : '');
    this.inform('LEASE_HANDED_OVER', message);
  }

  // ── reasons and views ─────────────────────────────────────────────────────────────────────────

  private inform(code: string, message: string): void {
    this.effects.push({ type: 'event', level: 'info', code, message });
  }

  private refuse(minerId: string, code: ErrorCode, message: string): void {
    this.counters.rejected += 1;
    const miner = this.miners.get(minerId);
    if (miner) miner.rejected += 1;
    this.effects.push({ type: 'refuse', minerId, code, message });
  }

  private explainWaits(now: number): void {
    const reasons = this.stages.map((stage) => this.reasonOf(stage));
    for (const miner of this.miners.values()) {
      if (!miner.connected || miner.phase !== 'ready' || miner.leases.size > 0) continue;
      const reason = minerReason(miner, this.stages[miner.stage]!, reasons[miner.stage]!, now);
      if (miner.waitingFor === reason.message) continue;
      miner.waitingFor = reason.message;
      this.effects.push({ type: 'wait', minerId: miner.id, ...reason });
    }
  }

  private reasonOf(stage: StageRecord): Reason | null {
    const empty = this.stages.filter((other) => this.teams[other.index]!.size === 0);
    return stageReason(stage, this.stages, this.flowsOf(stage), empty);
  }

  private flowsOf(stage: StageRecord): readonly Flow[] {
    return this.steps.get(stage.version)?.flows ?? [];
  }

  private membersOf(stage: StageRecord): MinerRecord[] {
    return [...this.teams[stage.index]!.values()];
  }

  private staff(): Staffed[] {
    return this.stages.map((stage) => ({ stage, members: this.teams[stage.index]! }));
  }

  private known(minerId: string): MinerRecord {
    const miner = this.miners.get(minerId);
    if (!miner) throw new SwarmError('NOT_JOINED', `Miner ${minerId} is not part of the run (any more).`);
    return miner;
  }

  /** A miner as it stands, for views; undefined when it is not (any more) part of the run. */
  miner(id: string): Readonly<MinerRecord> | undefined {
    return this.miners.get(id);
  }

  /** All stages as they stand, for views. */
  view(): { stage: Readonly<StageRecord>; reason: Reason | null; done: number; total: number; miners: Readonly<MinerRecord>[] }[] {
    return this.stages.map((stage) => ({
      stage,
      reason: this.reasonOf(stage),
      ...progressOf(this.flowsOf(stage), stage.index),
      miners: this.membersOf(stage),
    }));
  }

  versionOf(stage: number): number {
    return this.stages[stage]!.version;
  }

  /** True while this miner's gradient of this step is awaited. */
  collectsFrom(minerId: string, stage: number, version: number): boolean {
    const record = this.stages[stage];
    return record?.version === version && record.collecting.has(minerId);
  }

  /** An open (or late, not yet replaced) lease of this miner, so that the gateway can check its tensors before it is settled. */
  leaseOf(
    leaseId: string,
  ): Readonly<Pick<LeaseRecord, 'kind' | 'stage' | 'version' | 'minerId' | 'state'> & { flow: Readonly<Flow> }> | undefined {
    return this.leases.get(leaseId);
  }
}
