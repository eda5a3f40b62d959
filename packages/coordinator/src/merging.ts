/** Steps open, gradients are collected and merged, versions follow each other. */
import { type MergedStep, SwarmError } from '@starling/protocol';
import { shardCount } from '@starling/reduce';
import { LIMITS } from './constants.ts';
import { type Flow, newFlows } from './flow.ts';
import { emitApplying, mergeWhenComplete, turnOver } from './overlap.ts';
import { beginReduction, endReduction, giveUp, include, repeatReduction, shardsOf } from './reducing.ts';
import { assign, distribute, dropWork, emitCollect, move, uncontributed } from './roster.ts';
import { type Claim, enterStagePhase, mergeOf, noMerge, type StageRecord } from './stage.ts';
import type { State } from './state.ts';
import { Step } from './step.ts';
import { addTime } from './times.ts';
import type { Of } from './types.ts';

/** The first stage reaching a version opens its step for all. */
export function openStep(state: State): void {
  const { microbatchesPerStep: size, validationMicrobatches, validateEvery, steps, stages } = state.config;
  const first = state.stages[0]!;
  const number = first.version;
  if (first.phase !== 'training' || state.steps.has(number)) return;
  const validate = validationMicrobatches > 0 && (number % validateEvery === 0 || number === steps - 1);
  const flows = newFlows(number, size, validate ? validationMicrobatches : 0, stages);
  const step = new Step(number, flows, stages, state.now);
  state.steps.set(number, step);
  for (const flow of flows) step.unblock(flow, 0, flow.cells[0]!.forward ? 'forward' : 'backward', null);
  state.touched.add(0);
}

/** When every microbatch is settled at this stage, its miners are asked for their gradients. */
export function closeStep(state: State, stage: StageRecord): void {
  if (state.config.overlap) {
    turnOver(state, stage, () => {
      collect(state, stage);
      // They are on their way now; one that is lost is left out.
      for (const { cell } of uncontributed(state, stage)) cell.contributed = true;
    });
    return;
  }
  // Gradients asked for before a contributor was lost come in first; what was redone is collected after them.
  if (stage.phase !== 'training' || stage.merge.collecting.size > 0) return;
  if (!state.stepOf(stage)?.settledAt(stage.index)) return;
  enterStagePhase(stage, 'merging', state.now);
  collect(state, stage);
  reduceWhenComplete(state, stage);
}

function collect(state: State, stage: StageRecord): void {
  for (const { flow, cell } of uncontributed(state, stage)) {
    const minerId = cell.backward!.minerId!;
    const known = stage.merge.collecting.get(minerId);
    if (known) known.microbatches.push(flow.microbatch);
    else stage.merge.collecting.set(minerId, newClaim(state, minerId, flow.microbatch));
  }
  // As many as the first who are asked; whoever computes something again later cuts it alike.
  stage.merge.shards ||= shardCount(state.config.reduction.parameters[stage.index]!, Math.max(1, stage.merge.collecting.size));
  for (const [minerId, { round, microbatches }] of stage.merge.collecting) {
    emitCollect(state, stage, minerId, { round, microbatches });
  }
}

function newClaim(state: State, minerId: string, microbatch: number): Claim {
  const miner = state.miners.get(minerId)!;
  // What it computes after this belongs to the next round, and starts at zero.
  const { round } = miner;
  miner.round = state.nextRound();
  return { round, microbatches: [microbatch], since: state.now, redone: false };
}

export function contribution(state: State, input: Of<'contribution'>): void {
  const { minerId, round, microbatches, hashes, squares } = input;
  const miner = state.known(minerId);
  const { stage, claim } = expected(state, input);
  if (`${microbatches.toSorted((a, b) => a - b)}` !== `${claim.microbatches}`) {
    const message = `Expected the gradient over microbatches [${claim.microbatches}], got [${microbatches}].`;
    state.refuse(minerId, 'CONTRIBUTION_MISMATCH', message);
    // Its backwards counted and their gradient is lost: as if it had not come at all.
    state.blame(miner, { code: 'BANNED_WRONG', message: 'its gradient covered other microbatches' });
    dropWork(state, miner);
    assign(state, miner, 'its gradient covered other microbatches');
    return;
  }
  const { length } = shardsOf(state.config.reduction, stage.index, stage.merge.shards);
  if (hashes.length !== length || squares.length !== length)
    throw new SwarmError('SHARD_MALFORMED', `This gradient is ${length} shards, not ${hashes.length}.`);
  stage.merge.collecting.delete(minerId);
  miner.missed = 0;
  addTime(stage.times.collect, state.now - claim.since);
  stage.attendedAt = state.now;
  if (!state.config.overlap) bookContribution(state, stage, minerId, claim);
  stage.merge.contributions.push({ minerId, round, hashes, squares, microbatches });
  state.touched.add(stage.index);
  reduceWhenComplete(state, stage);
}

function bookContribution(state: State, stage: StageRecord, minerId: string, { microbatches, redone }: Claim): void {
  const covered = new Set(microbatches);
  const step = state.stepOf(stage)!;
  for (const flow of step.flows) {
    if (flow.purpose !== 'train' || !covered.has(flow.microbatch)) continue;
    const cell = flow.cells[stage.index]!;
    cell.contributed = true;
    if (!redone) continue;
    // It came after all, and before those who had begun to compute it again.
    state.cancel(cell.backward!);
    step.settle(flow, stage.index, 'backward', 'done', minerId, state.now);
  }
}

/** Useless gradient: its microbatches are redone by others, and its miner fetches the stage anew. */
export function spoiled(state: State, input: Of<'spoiled'>): void {
  const { minerId, code, message } = input;
  const miner = state.known(minerId);
  expected(state, input);
  state.refuse(minerId, code, message);
  state.inform(code, `Gradient of miner ${minerId} was left out: ${message}`, 'warning');
  // A broken device shows in a whole step's work: no need to see it three times.
  miner.late = Math.max(miner.late, LIMITS.lateBeforeBan - 1);
  state.blame(miner, { code: 'BANNED_WRONG', message: 'its gradient was not usable' });
  dropWork(state, miner);
  assign(state, miner, 'its gradient was not usable');
}

/** The claim that an upload answers. Throws the code that tells why there is none. */
function expected(
  state: State,
  { minerId, stage: index, version, round }: Of<'contribution' | 'spoiled'>,
): { stage: StageRecord; claim: Claim } {
  const stage = state.stages[index];
  const claim = stage?.merge.version === version ? stage.merge.collecting.get(minerId) : undefined;
  if (stage && claim?.round === round) return { stage, claim };
  if (stage?.merge.version === version && stage.merge.voided.get(minerId) === round) {
    throw new SwarmError(
      'CONTRIBUTION_LATE',
      `The gradient of step ${version} came too late: it was left out, or others had computed its microbatches again.`,
    );
  }
  throw new SwarmError('CONTRIBUTION_UNEXPECTED', `Stage ${index} collects nothing from this miner at version ${version}, round ${round}.`);
}

/** True while this gradient is awaited. */
export function isExpected(state: State, minerId: string, index: number, version: number, round: number): boolean {
  const stage = state.stages[index];
  return stage?.merge.version === version && stage.merge.collecting.get(minerId)?.round === round;
}

function reduceWhenComplete(state: State, stage: StageRecord): void {
  if (state.config.overlap) mergeWhenComplete(state, stage);
  else if (stage.merge.collecting.size === 0 && stage.phase === 'merging') {
    if (stage.merge.contributions.length > 0) beginReduction(state, stage);
    else {
      // All of the step was left out here.
      giveUp(state, stage);
      emitApplies(state, stage);
    }
  }
}

export function summed(state: State, { stage: index, version, type: _, ...sum }: Of<'summed'>): void {
  const stage = state.stages[index]!;
  if (version !== stage.merge.version || stage.merge.butterfly?.phase !== 'done' || stage.merge.summed) return;
  stage.merge.summed = sum;
  include(state, stage);
  if (state.config.overlap) {
    state.touched.add(index);
    for (const minerId of state.crews[index]!.members.keys()) state.emit({ type: 'prefetch', minerId, stage: index, shards: sum.shards });
    return;
  }
  emitApplies(state, stage);
}

/** This stage's sum is known. By the norm of the whole model: when it was the last, all of them can be applied. */
function emitApplies(state: State, stage: StageRecord): void {
  for (const other of state.config.clip === 'stage' ? [stage] : state.stages) emitApply(state, other);
}

/** The norm that clips this stage's sum; null while another stage's share of it is not known. */
function clipNormOf(state: State, stage: StageRecord): number | null {
  if (state.config.clip === 'stage') return stage.merge.summed!.norm;
  let squares = 0;
  for (const other of state.stages) {
    // It was applied somewhere already: before a restart, say.
    const known = mergeOf(other, stage.version + 1);
    if (known) return known.clipNorm;
    if (!other.merge.summed) return null;
    squares += other.merge.summed.norm * other.merge.summed.norm;
  }
  return Math.sqrt(squares);
}

function emitApply(state: State, stage: StageRecord): void {
  const {
    index,
    version,
    merge: { summed: sum },
  } = stage;
  const clipNorm = sum && clipNormOf(state, stage);
  if (sum && clipNorm !== null) state.emit({ type: 'apply', stage: index, version, summed: sum, clipNorm });
}

/** Whoever was to carry them out is gone. */
export function repeatMerges(state: State): void {
  for (const stage of state.stages) {
    if (state.config.overlap) {
      if (stage.applying) emitApplying(state, stage);
      if (stage.merge.butterfly && !stage.merge.summed) repeatReduction(state, stage);
      continue;
    }
    if (stage.phase !== 'merging' || stage.merge.collecting.size > 0) continue;
    if (stage.merge.summed) emitApply(state, stage);
    else repeatReduction(state, stage);
  }
}

export function merged(state: State, { stage: index, type: _, ...merge }: Of<'merged'>): void {
  const stage = state.stages[index]!;
  const { version, parameterHash } = merge;
  const { overlap } = state.config;
  if (version !== stage.version + 1 || !(overlap ? stage.applying : stage.merge.summed)) return;
  state.touched.add(index);
  state.emit({ type: 'release', stage: index, version: stage.version });
  if (overlap) {
    stage.applying = null;
  } else {
    state.emit({ type: 'forget', stage: index, version: stage.version });
    endReduction(state, stage);
    stage.merge = noMerge(version);
  }
  Object.assign(stage, { version, parameterHash } satisfies Partial<StageRecord>);
  stage.merges.push(merge);
  if (stage.merges.length > LIMITS.mergesKept) stage.merges.shift();
  enterStagePhase(stage, 'training', state.now);
  completeOrGoOn(state, stage);
  // Receipts of the step that closed now are taken, as surplus, until the next one closes.
  for (const [id, lease] of state.leases) if (lease.stage === index && lease.version < version - 1) state.leases.delete(id);
  const crew = state.crews[index]!;
  for (const miner of [...crew.members.values()]) {
    const { moving } = miner;
    miner.moving = null;
    if (moving !== null && miner.phase === 'ready' && miner.connected && crew.size > 1) {
      move(state, miner, state.crews[moving]!, `stage ${moving} was the slowest`);
    } else if (miner.phase === 'ready') {
      distribute(state, miner, stage);
    }
  }
  reportClosed(state, stage);
}

/** Other goals for the same run: one that was complete goes on if it has steps left. */
export function configure(state: State, { goals }: Of<'configure'>): void {
  state.config = { ...state.config, ...goals };
  for (const stage of state.stages) {
    const wasComplete = stage.phase === 'complete';
    completeOrGoOn(state, stage);
    state.touched.add(stage.index);
    if (wasComplete && stage.phase === 'training') wake(state, stage);
  }
}

/** It goes on, perhaps in the middle of a step: what is waited for has its time from now on. */
function wake(state: State, stage: StageRecord): void {
  const step = state.stepOf(stage);
  if (step) step.progressAt = state.now;
  for (const claim of stage.merge.collecting.values()) claim.since = state.now;
  // Backwards may wait for miners that have nothing to do.
  for (const miner of state.crews[stage.index]!.members.values()) state.refresh(miner);
}

export function completeOrGoOn(state: State, stage: StageRecord): void {
  const { steps } = state.config;
  if (stage.phase === 'merging') return;
  enterStagePhase(stage, steps > 0 && stage.version >= steps ? 'complete' : 'training', state.now);
}

/** `last`: the stage that has merged now. */
function reportClosed(state: State, last: StageRecord): void {
  const { version } = last;
  if (state.stages.some((stage) => stage.version < version)) return;
  const number = version - 1;
  const step = state.steps.get(number)!;
  const { flows } = step;
  const sum = (purpose: Flow['purpose']) => {
    const known = flows.filter((flow) => flow.purpose === purpose && flow.lossSum !== null);
    return { lossSum: known.reduce((total, flow) => total + flow.lossSum!, 0), tokens: known.length * state.config.tokensPerMicrobatch };
  };
  const validation = sum('validate');
  state.emit({
    type: 'closed',
    step: number,
    ...sum('train'),
    validation: validation.tokens > 0 ? validation : null,
    norms: state.stages.map((stage) => mergeOf(stage, version)!.norm),
  });
  const merged = mergedStep(state, step, last);
  state.emit({ type: 'event', level: 'info', code: 'STEP_MERGED', message: describeMerge(state, step, last, merged), merged });
  state.steps.delete(number);
}

function mergedStep({ config, now }: State, { number, progressAt }: Step, last: StageRecord): MergedStep {
  const { tokens } = mergeOf(last, last.version)!;
  return { step: number, microbatches: tokens / config.tokensPerMicrobatch, tookMs: now - progressAt };
}

/** Whose work a step was, and how long it took every stage to have it in its parameters. */
function describeMerge({ stages }: State, { flows }: Step, last: StageRecord, { step, microbatches, tookMs }: MergedStep): string {
  const trained = flows.filter(({ purpose }) => purpose === 'train');
  const crew = (index: number) => new Set(trained.map(({ cells }) => cells[index]!.backward!.minerId).filter((id) => id !== null)).size;
  const slowest = stages.length > 1 ? `, stage ${last.index} last` : '';
  return `Step ${step} made version ${last.version}: miners by stage ${stages.map(({ index }) => crew(index)).join(', ')}; ${microbatches} microbatches; merged in ${(tookMs / 1000).toFixed(1)} s${slowest}.`;
}
