/** Who is here, on which stage, and with which parameters. */
import { LIMITS } from './constants.ts';
import type { Crew } from './crew.ts';
import type { Cell, Flow } from './flow.ts';
import { ban, type Credit, enterPhase, FOUND_FALSE, forgetPace, type MinerRecord } from './miner.ts';
import { mergeWhenComplete } from './overlap.ts';
import { fillEmpty, placeNewcomer, rebalance, relieve } from './policy.ts';
import { postponeReductions, reducerBack, reducerGone } from './reducing.ts';
import { type Claim, mergeOf, type StageRecord } from './stage.ts';
import type { State } from './state.ts';
import type { Of } from './types.ts';

export function join(state: State, { minerId, facts, holding }: Of<'join'>): void {
  const miner = state.miners.get(minerId);
  if (!miner) {
    const { stage } = placeNewcomer(state.crews);
    const added = state.addMiner(minerId, facts, stage);
    const { bannedUntil = 0 } = state.reputations.get(state.ownerOf(minerId)) ?? {};
    if (bannedUntil > state.now) {
      const own = state.creditOf(added);
      if (bannedUntil > own.bannedUntil) Object.assign(own, { bannedUntil, banned: FOUND_FALSE } satisfies Partial<Credit>);
    }
    const credit = state.credits.get(minerId);
    const banned = credit !== undefined && credit.bannedUntil > state.now;
    if (banned) ban(added, credit);
    assign(state, added, banned ? credit.banned!.message : 'joined');
    const rest = banned ? ` It is banned until ${new Date(credit.bannedUntil).toISOString()}: ${credit.banned!.message}.` : '';
    state.inform('MINER_JOINED', `Miner ${minerId} joined at stage ${stage.index}.${rest}`);
    return;
  }
  miner.facts = facts;
  miner.connected = true;
  miner.waiting = null;
  const stage = state.stageOf(miner);
  // It may have applied a merge without the news of it having arrived.
  const holds = holding?.stage === stage.index && (holding.version === miner.version || holding.version === miner.version + 1);
  if (!holds || miner.phase === 'loading') {
    const since = loadingSince(state, miner);
    reassigned(state, miner, 'came back without its stage');
    assign(state, miner, miner.owed ?? 'came back without its stage', since);
    return;
  }
  state.refresh(miner);
  if (miner.phase === 'applying') distribute(state, miner, stage);
  for (const id of miner.leases) state.emitGrant(state.leases.get(id)!);
  const claim = stage.merge.collecting.get(minerId);
  if (claim) emitCollect(state, stage, minerId, claim);
  reducerBack(state, stage, minerId);
}

export function emitCollect(
  state: State,
  stage: StageRecord,
  minerId: string,
  { round, microbatches }: Pick<Claim, 'round' | 'microbatches'>,
): void {
  const {
    index,
    merge: { version, shards },
  } = stage;
  state.emit({ type: 'collect', minerId, stage: index, version, round, microbatches, shards });
}

export function disconnect(state: State, { minerId }: Of<'disconnect'>): void {
  const miner = state.miners.get(minerId);
  if (miner) away(state, miner, LIMITS.reconnectGrace);
}

function away(state: State, miner: MinerRecord, grace: number): void {
  miner.connected = false;
  miner.goneAt = state.now + grace;
  state.refresh(miner);
}

/** Sockets and effects of before are gone; time may have passed in which nobody could do anything. */
export function restart(state: State, idleMs: number): void {
  forgive(state, idleMs);
  for (const miner of state.miners.values()) away(state, miner, LIMITS.restartGrace);
  // Whoever applied a merge has to come back first.
  state.inform('SERVER_RESTARTED', `The server went on where it was, after ${(idleMs / 1000).toFixed(1)} s.`);
}

/**
 * The server was away, frozen, or could let nothing out for the last `idleMs`: nobody was late meanwhile. What began before
 * is put off by all of it, and what was handled within it begins now.
 */
export function forgive(state: State, idleMs: number): void {
  const { now } = state;
  const delay = (since: number) => Math.min(idleMs, Math.max(0, now - since));
  for (const miner of state.miners.values()) {
    miner.phaseSince += delay(miner.phaseSince);
    miner.settledAt += delay(miner.settledAt);
    if (miner.restingSince !== null) miner.restingSince += delay(miner.restingSince);
    if (!miner.connected) miner.goneAt = Math.min(miner.goneAt + idleMs, Math.max(miner.goneAt, now + LIMITS.reconnectGrace));
  }
  for (const lease of state.leases.values()) {
    // Or everybody who held one would look as slow as the server was away.
    const later = delay(lease.grantedAt);
    lease.grantedAt += later;
    lease.deadline += later;
  }
  for (const step of state.steps.values()) step.progressAt += delay(step.progressAt);
  for (const stage of state.stages) {
    stage.attendedAt += delay(stage.attendedAt);
    for (const claim of stage.merge.collecting.values()) claim.since += delay(claim.since);
  }
  postponeReductions(state, idleMs);
}

export function leave(state: State, { minerId }: Of<'leave'>): void {
  if (!state.miners.has(minerId)) return;
  remove(state, minerId, 'MINER_LEFT', 'left');
}

/** Takes a miner off the run; `what` it did follows its name. */
export function remove(state: State, minerId: string, code: string, what: string): void {
  const miner = state.miners.get(minerId)!;
  const { handedOver } = state.counters;
  dropWork(state, miner);
  state.miners.delete(minerId);
  state.dismiss(miner);
  const credit = state.credits.get(minerId);
  if (credit) Object.assign(credit, { facts: miner.facts, rejected: credit.rejected + miner.rejected } satisfies Partial<Credit>);
  const tasks = state.counters.handedOver - handedOver;
  const lost = tasks === 0 ? '' : ` ${tasks} task${tasks > 1 ? 's are' : ' is'} free for others.`;
  state.inform(code, `Miner ${minerId} ${what}.${lost}`);
  if (code !== 'MINER_LEFT') state.lapse(minerId, 'REMOVED', `This miner ${what}.`);
  if (code !== 'MINER_LEFT' && miner.connected) state.emit({ type: 'dismiss', minerId });
}

/** Microbatches at `stage` whose accepted gradient is still only in `minerId`'s memory, ascending. */
export function uncontributed(state: State, stage: StageRecord, minerId?: string): { flow: Flow; cell: Cell }[] {
  const found: { flow: Flow; cell: Cell }[] = [];
  for (const flow of state.flowsOf(stage)) {
    const cell = flow.cells[stage.index]!;
    const task = cell.backward;
    if (task?.state !== 'done' || cell.contributed || (minerId !== undefined && task.minerId !== minerId)) continue;
    found.push({ flow, cell });
  }
  return found;
}

/** Gives back everything that exists only with this miner: its leases, kept inputs, and gradients it has not handed in. */
export function dropWork(state: State, miner: MinerRecord): void {
  const stage = state.stageOf(miner);
  state.touched.add(stage.index);
  state.stepOf(stage)?.unpin(miner.id, stage.index);
  for (const id of [...miner.leases]) state.lose(state.leases.get(id)!);
  for (const flow of state.flowsOf(stage)) {
    const cell = flow.cells[stage.index]!;
    if (cell.holder === miner.id) state.setHolder(cell, null);
  }
  const lost = uncontributed(state, stage, miner.id);
  for (const { flow } of lost) {
    state.counters.handedOver += 1;
    state.reopen(flow, stage.index, 'backward');
  }
  const { overlap } = state.config;
  const wasAsked = stage.merge.collecting.delete(miner.id);
  if (lost.length > 0 || (wasAsked && !overlap)) state.backToTraining(stage);
  if (wasAsked && overlap) mergeWhenComplete(state, stage);
  reducerGone(state, stage, miner.id);
}

/** Or whoever comes back again and again, or says that it holds what it cannot, would never be late with its stage. */
const loadingSince = (state: State, { phase, owed, phaseSince }: MinerRecord) =>
  phase === 'loading' && owed === null ? phaseSince : state.now;

/** Has the miner fetch its stage; a banned one when its ban is over, so that a wrong one cannot fetch without end. */
export function assign(state: State, miner: MinerRecord, why: string, since: number = state.now): void {
  const stage = state.stageOf(miner);
  enterPhase(miner, 'loading', since);
  miner.version = -1;
  miner.round = state.nextRound();
  miner.waiting = null;
  miner.owed = miner.bannedUntil > state.now ? why : null;
  state.refresh(miner);
  if (miner.owed !== null) return;
  state.emit({ type: 'assign', minerId: miner.id, stage: stage.index, version: stage.version, round: miner.round, why });
}

/** The next merge this miner has not applied; a miner too far behind fetches the whole stage, as it has since `since`. */
export function distribute(state: State, miner: MinerRecord, stage: StageRecord, since: number = state.now): void {
  const merge = mergeOf(stage, miner.version + 1);
  if (!merge) {
    assign(state, miner, 'it fell too many steps behind', since);
    return;
  }
  if (miner.phase !== 'applying') enterPhase(miner, 'applying', state.now);
  state.refresh(miner);
  state.emit({ type: 'distribute', minerId: miner.id, stage: stage.index, merge });
}

export function ready(state: State, { minerId, round, version, parameterHash }: Of<'ready'>): void {
  const miner = state.known(minerId);
  if (miner.round !== round || miner.phase !== 'loading') return; // answers an assignment that was replaced meanwhile
  proved(state, miner, version, parameterHash);
}

export function applied(state: State, { minerId, stage: index, version, parameterHash }: Of<'applied'>): void {
  const miner = state.known(minerId);
  if (miner.stage !== index || miner.phase !== 'applying' || version !== miner.version + 1) return;
  proved(state, miner, version, parameterHash);
}

/** It has shown what parameters it holds. */
function proved(state: State, miner: MinerRecord, version: number, parameterHash: string): void {
  const stage = state.stageOf(miner);
  if (version > stage.version) {
    // Sent there by a server that was killed before its merge was on disk.
    assign(state, miner, 'its parameters are of a step that was not finished', loadingSince(state, miner));
    return;
  }
  const expected = version === stage.version ? stage.parameterHash : mergeOf(stage, version)?.parameterHash;
  // The version it began with may be older than what is kept; then its hash is proved by the first merge it applies.
  if (expected !== undefined && parameterHash !== expected) {
    diverged(state, miner, stage);
    return;
  }
  miner.version = version;
  if (version < stage.version) {
    // Every merge has its own time; whoever gets none has been fetching all along.
    const since = loadingSince(state, miner);
    enterPhase(miner, 'applying', state.now);
    distribute(state, miner, stage, since);
    return;
  }
  if (miner.phase === 'loading' && miner.samples === 0) {
    // At the back of the queue, not at its head: an unknown miner must not draw everything (SWARM did that).
    forgetPace(miner, slowestPace(state.crewOf(miner)));
  }
  enterPhase(miner, 'ready', state.now);
  state.refresh(miner);
}

/** Those that nobody has seen work yet are taken for the slowest that is known, which may have changed. */
export function guessPaces(state: State, crew: Crew): void {
  // A hair faster, so that it gets something one day where nobody has to wait: then it is known.
  const guess = slowestKnown(crew) * 0.999;
  for (const miner of crew.members.values()) {
    if (guess === 0 || miner.samples > 0 || miner.pace === guess) continue;
    miner.pace = guess;
    state.refresh(miner);
  }
}

const slowestPace = (crew: Crew) => slowestKnown(crew) || LIMITS.unknownPace;

/** 0 while nobody is known. */
function slowestKnown(crew: Crew): number {
  let slowest = 0;
  for (const { pace, samples } of crew.members.values()) if (samples > 0 && pace > slowest) slowest = pace;
  return slowest;
}

function diverged(state: State, miner: MinerRecord, stage: StageRecord): void {
  state.counters.resynchronised += 1;
  const message = `Miner ${miner.id} has other parameters than stage ${stage.index} at version ${stage.version}; it fetches the stage again.`;
  state.inform('PARAMETERS_DIVERGED', message, 'warning');
  state.refuse(miner.id, 'PARAMETERS_DIVERGED', message);
  state.blame(miner, { code: 'BANNED_WRONG', message: 'its parameters differed' });
  dropWork(state, miner);
  assign(state, miner, 'its parameters differed');
}

/** Ends what is over of a miner's rest and its ban. After both it gets what it is owed. */
export function endRest(state: State, miner: MinerRecord): void {
  if (miner.restUntil <= state.now) miner.restUntil = 0;
  miner.resting = miner.restUntil > 0 || miner.bannedUntil > state.now;
  // Null where a receipt came in the middle of it.
  miner.absent = miner.restUntil > 0 && state.now - (miner.restingSince ?? state.now) >= LIMITS.restPatience;
  if (!miner.resting && miner.owed) assign(state, miner, miner.owed);
  else state.refresh(miner);
}

// ── balance ─────────────────────────────────────────────────────────────────────────────────────

/** Takes what it has under way from it, and tells its history how much that was. */
function reassigned(state: State, miner: MinerRecord, why: string): void {
  const { handedOver } = state.counters;
  dropWork(state, miner);
  const tasks = state.counters.handedOver - handedOver;
  if (tasks > 0) state.lapse(miner.id, 'REASSIGNED', `${tasks} of its tasks went to others: ${why}.`);
}

/** Moves a miner at once. */
export function move(state: State, miner: MinerRecord, to: Crew, why: string): void {
  const from = miner.stage;
  reassigned(state, miner, why);
  miner.moving = null;
  forgetPace(miner, slowestPace(to));
  state.station(miner, to.stage.index);
  to.stage.attendedAt = state.now;
  state.counters.moved += 1;
  assign(state, miner, why);
  state.inform('MINER_MOVED', `Miner ${miner.id} moved from stage ${from} to stage ${to.stage.index}: ${why}.`);
}

export function fillEmptyStages(state: State): void {
  const burden = (miner: MinerRecord) => miner.leases.size + uncontributed(state, state.stageOf(miner), miner.id).length;
  for (let choice = fillEmpty(state.crews, burden); choice; choice = fillEmpty(state.crews, burden))
    move(state, choice.miner, choice.to, `stage ${choice.to.stage.index} had nobody left`);
  for (let choice = relieve(state.crews, burden, state.now); choice; choice = relieve(state.crews, burden, state.now))
    move(state, choice.miner, choice.to, `nobody worked on stage ${choice.to.stage.index}`);
}

/** Plans a move for when the miner's stage has merged: then it holds nothing, and nothing is lost by its going. */
export function planMove(state: State): void {
  if (state.now - state.rebalancedAt < LIMITS.rebalanceEvery) return;
  state.rebalancedAt = state.now;
  for (const miner of state.miners.values()) if (miner.moving !== null) return;
  const choice = rebalance(state.crews);
  if (choice) choice.miner.moving = choice.to.stage.index;
}
