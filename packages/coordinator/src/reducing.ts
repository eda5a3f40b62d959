/**
 * The gradients of a stage become one: a butterfly all-reduce among those who contributed, carried along by the coordinator's
 * inputs. Its members committed and uploaded their shards before the pairs are drawn, so the draw can be nobody's choice.
 */
import { SwarmError } from '@starling/protocol';
import { AgreementMatrix, Butterfly, type ButterflyEffect, type ButterflyInput, type Shard, ShardedGradient } from '@starling/reduce';
import { LIMITS } from './constants.ts';
import { NOTHING, type StageRecord } from './stage.ts';
import type { State } from './state.ts';
import { reduceWithin } from './times.ts';
import type { Contributed, Of, ReductionFormat } from './types.ts';

/** How a stage's gradient is cut when `count` shards are asked for. */
export function shardsOf({ parameters, codec, merged }: ReductionFormat, stage: number, count: number): readonly Shard[] {
  return new ShardedGradient({ codec, merged }, parameters[stage]!, count).shards;
}

/** What is in the merge that is under way, in the order it is added up. */
export function contributionsIn(stage: Readonly<StageRecord>): Contributed[] {
  const members = stage.merge.butterfly?.view.members ?? [];
  return inOrder(stage).filter((_, at) => !members[at]?.excluded);
}

/** All gradients are here. */
export function beginReduction(state: State, stage: StageRecord): void {
  const { reduction, tokensPerMicrobatch } = state.config;
  const { parameters, codec, merged, means, medianClip, spotCheck } = reduction;
  const contributions = inOrder(stage);
  const seen = new Set<string>();
  const members = contributions.map(({ minerId, round, microbatches }) => {
    // Whoever computed for somebody who was lost has two gradients; one of them is only added.
    const again = seen.has(minerId);
    seen.add(minerId);
    const id = again ? `${minerId}#${round}` : minerId;
    return { id, tokens: microbatches.length * tokensPerMicrobatch, absent: again || !canReduce(state, stage, minerId) };
  });
  const reduce = reduceWithin(stage.times.collect);
  stage.merge.butterfly = Butterfly.begin(
    {
      stage: stage.index,
      version: stage.merge.version,
      parameters: parameters[stage.index]!,
      codec,
      merged,
      members,
      shards: stage.merge.shards,
      after: stage.merge.reductionRound,
      means,
      clip: medianClip,
      spotCheck,
      excludeLiars: true,
      redraws: LIMITS.redraws,
      // Commits and uploads are here already; what is late is what `collecting` waits for.
      deadlines: { commit: 0, upload: 0, reduce },
    },
    state.now,
  );
  contributions.forEach(({ hashes }, index) => {
    give(state, stage, { type: 'commit', memberId: members[index]!.id, hashes });
  });
}

/** A fixed order that depends on nobody's name or speed: by the first microbatch covered. */
function inOrder({ merge: { contributions } }: Readonly<StageRecord>): Contributed[] {
  const first = ({ microbatches }: Contributed) => Math.min(...microbatches);
  return contributions.toSorted((a, b) => first(a) - first(b));
}

function canReduce(state: State, stage: StageRecord, minerId: string): boolean {
  const miner = state.miners.get(minerId);
  return miner?.stage === stage.index && miner.phase !== 'loading' && miner.connected && !miner.resting;
}

/** Hands the stage's butterfly an input, and carries on what it wants. Throws what it refuses. */
function give(state: State, stage: StageRecord, input: ButterflyInput): void {
  const { butterfly } = stage.merge;
  for (const effect of butterfly!.handle(input, state.now)) {
    // A stage that begins again has another butterfly, or none.
    if (stage.merge.butterfly === butterfly) carryOn(state, stage, effect);
  }
}

function carryOn(state: State, stage: StageRecord, effect: ButterflyEffect): void {
  const { index } = stage;
  const { version } = stage.merge;
  switch (effect.type) {
    case 'draw':
      state.emit({ ...effect, stage: index, version });
      break;
    case 'reduce': {
      const { memberId, ...task } = effect;
      state.emit({ ...task, minerId: memberId, stage: index, version });
      break;
    }
    case 'recompute':
    case 'spotCheck': {
      const { round, shard, contributions } = effect;
      state.emit({ type: 'recompute', stage: index, version, round, shard, contributions });
      break;
    }
    case 'liar':
      punish(state, stage, effect);
      break;
    case 'merged':
      finish(state, stage, effect);
      break;
    case 'failed':
      startOver(state, stage);
      break;
    case 'refuse':
      throw new SwarmError(effect.code, effect.message);
    case 'upload': // they are here
    case 'excluded': // whose results were false: `liar` says it
      break;
  }
}

export function seed(state: State, { stage: index, version, seed, secretSeed }: Of<'seed'>): void {
  const stage = state.stages[index]!;
  if (stage.merge.version !== version || stage.merge.butterfly?.phase !== 'drawing') return;
  const { butterfly } = stage.merge;
  give(state, stage, { type: 'seed', seed, secretSeed });
  const { members } = butterfly.view;
  inOrder(stage).forEach(({ hashes, squares }, at) => {
    const memberId = members[at]!.id;
    hashes.forEach((hash, shard) => {
      give(state, stage, { type: 'upload', memberId, shard, hash, squares: squares[shard]! });
    });
  });
  for (const { id, absent } of members) if (!absent && !canReduce(state, stage, id)) reducerGone(state, stage, id);
}

/** True while this miner's result for this shard is awaited, or would still be taken. */
export function isReducer(state: State, { minerId, stage: index, version, round, shard }: Omit<Of<'result'>, 'type' | 'hash'>): boolean {
  const { merge } = state.stages[index] ?? {};
  const butterfly = merge?.butterfly;
  if (!butterfly || merge.version !== version || butterfly.phase !== 'reducing' || butterfly.view.round !== round) return false;
  const { members, shards } = butterfly.view;
  const record = shards[shard];
  return record?.settled === null && record.votes.some(({ member, hash }) => hash === null && members[member]!.id === minerId);
}

export function result(state: State, { minerId, stage: index, version, round, shard, hash }: Of<'result'>): void {
  const stage = state.stages[index];
  state.known(minerId);
  if (!stage?.merge.butterfly || stage.merge.version !== version)
    throw new SwarmError('MERGE_UNEXPECTED', `Stage ${index} reduces nothing at version ${version}, or no longer.`);
  give(state, stage, { type: 'result', memberId: minerId, round, shard, hash });
}

export function recomputed(state: State, { stage: index, version, round, shard, hash }: Of<'recomputed'>): void {
  const stage = state.stages[index]!;
  if (!stage.merge.butterfly || stage.merge.version !== version) return;
  give(state, stage, { type: 'recomputed', round, shard, hash });
}

/** Reducers that are late are replaced. */
export function tickReductions(state: State): void {
  for (const stage of state.stages) if (stage.merge.butterfly) give(state, stage, { type: 'tick' });
}

/** Nobody could answer for so long. */
export function postponeReductions(state: State, ms: number): void {
  for (const stage of state.stages) if (stage.merge.butterfly) give(state, stage, { type: 'postpone', ms });
}

/** Whoever carries out effects is new. */
export function repeatReduction(state: State, stage: StageRecord): void {
  give(state, stage, { type: 'restart' });
}

/** The miner is gone from its stage: what it was to reduce goes to another. What it contributed stays. */
export function reducerGone(state: State, stage: StageRecord, minerId: string): void {
  if (reduces(stage, minerId)) give(state, stage, { type: 'left', memberId: minerId });
}

/** It is back, and may have missed what it was asked. */
export function reducerBack(state: State, stage: StageRecord, minerId: string): void {
  if (reduces(stage, minerId)) give(state, stage, { type: 'resumed', memberId: minerId });
}

function reduces({ merge: { butterfly } }: StageRecord, minerId: string): boolean {
  if (butterfly?.phase !== 'reducing') return false;
  const member = butterfly.view.members.find(({ id }) => id === minerId);
  return member !== undefined && !member.absent && !member.gone && !member.excluded;
}

/** Its gradient was found false: it is left out, if the merge is not done. */
export function excludeFromMerge(state: State, stage: StageRecord, version: number, minerId: string, message: string): void {
  const { butterfly } = stage.merge;
  if (stage.merge.version !== version || butterfly?.phase !== 'reducing') return;
  for (const { id, excluded } of butterfly.view.members) {
    // Its second one, too.
    const isOwn = id === minerId || id.startsWith(`${minerId}#`);
    if (isOwn && !excluded && stage.merge.butterfly === butterfly) give(state, stage, { type: 'exclude', memberId: id, message });
  }
}

/** Its result is not what the uploads give. Its gradient is left out by the butterfly; its second one, if there is one, here. */
function punish(state: State, stage: StageRecord, { memberId, shard }: Extract<ButterflyEffect, { type: 'liar' }>): void {
  const message = `Miner ${memberId} reduced shard ${shard} of stage ${stage.index} in step ${stage.merge.version} to something else than it is.`;
  state.inform('REDUCTION_FALSE', message, 'warning');
  state.lapse(memberId, 'REDUCTION_FALSE', message);
  // There is no honest way to a false result, arithmetic is the same everywhere: what is held of its pay is lost.
  state.emit({ type: 'convicted', minerId: memberId, stage: stage.index, version: stage.merge.version });
  state.distrust(memberId);
  excludeFromMerge(state, stage, stage.merge.version, memberId, message);
  const miner = state.miners.get(memberId);
  if (!miner) return;
  miner.late = Math.max(miner.late, LIMITS.lateBeforeBan - 1);
  state.blame(miner, { code: 'BANNED_WRONG', message: 'its reduction was false' });
}

function finish(state: State, stage: StageRecord, { hashes, contributors, tokens }: Extract<ButterflyEffect, { type: 'merged' }>): void {
  const { minMicrobatches, tokensPerMicrobatch } = state.config;
  if (tokens < minMicrobatches * tokensPerMicrobatch && contributors.length < stage.merge.contributions.length) {
    startOver(state, stage);
    return;
  }
  state.emit({ type: 'sum', stage: stage.index, version: stage.merge.version, shards: hashes, tokens });
}

/** Too little is left of the step's gradients, or, without overlap, nothing. */
export function giveUp(state: State, stage: StageRecord): void {
  const { index, merge } = stage;
  merge.summed = NOTHING;
  state.inform(
    'MERGE_EMPTY',
    `Too few gradients of step ${merge.version} came to stage ${index}: its parameters stay as they are.`,
    'warning',
  );
  state.touched.add(index);
}

function startOver(state: State, stage: StageRecord): void {
  if (state.config.overlap) giveUp(state, stage);
  else redoExcluded(state, stage);
}

/** Too little is left without what was left out: others compute it again, and the merge begins anew with all of it. */
function redoExcluded(state: State, stage: StageRecord): void {
  const { members, round } = stage.merge.butterfly!.view;
  const contributions = inOrder(stage);
  const step = state.stepOf(stage)!;
  for (const [at, contribution] of contributions.entries()) {
    if (!members[at]!.excluded) continue;
    stage.merge.contributions.splice(stage.merge.contributions.indexOf(contribution), 1);
    const lost = new Set(contribution.microbatches);
    for (const flow of step.flows) {
      const cell = flow.cells[stage.index]!;
      if (flow.purpose !== 'train' || !lost.has(flow.microbatch) || !cell.contributed) continue;
      cell.contributed = false;
      state.counters.handedOver += 1;
      state.reopen(flow, stage.index, 'backward', contribution.minerId);
    }
  }
  stage.merge.reductionRound = round;
  endReduction(state, stage);
  state.backToTraining(stage);
  state.touched.add(stage.index);
}

/** The sum is known, and whose gradients are in it. */
export function include(state: State, stage: StageRecord): void {
  const { version } = stage.merge;
  const contributions = contributionsIn(stage);
  for (const { minerId, microbatches } of contributions)
    state.emit({ type: 'included', minerId, stage: stage.index, version, microbatches: microbatches.length });
  for (const minerId of new Set(contributions.map((contribution) => contribution.minerId))) {
    const reputation = state.reputations.get(state.ownerOf(minerId));
    // However many miners a device has: they would make thirty steps of one.
    if (!reputation || reputation.passedAudits === 0 || version <= reputation.cleanVersion) continue;
    reputation.cleanSteps += 1;
    reputation.cleanVersion = version;
  }
}

/** What it has shown of its members is kept. */
export function endReduction(state: State, stage: StageRecord): void {
  if (!stage.merge.butterfly) return;
  const matrix = new AgreementMatrix(stage.agreement);
  matrix.add(stage.merge.butterfly.agreement);
  // Pairs that always agreed are of no interest when one of them is gone; those that did not are evidence.
  stage.agreement = matrix.export().filter(({ pair, disagreed }) => disagreed > 0 || pair.every((id) => state.miners.has(id)));
  stage.merge.butterfly = null;
}
