/**
 * What must hold after every input, whatever the world did. Tests and the simulation check it; nothing else does.
 */
import { LIMITS } from './constants.ts';
import type { Coordinator } from './coordinator.ts';
import type { Flow, Slot, Task } from './flow.ts';
import { isHeldBack, pickFor } from './granting.ts';
import type { State } from './state.ts';

const SLOTS = ['forward', 'backward'] as const;

/** The first invariant that does not hold, as a sentence; null when all do. */
export function brokenInvariant({ state }: Coordinator): string | null {
  return times(state) ?? miners(state) ?? stages(state) ?? steps(state) ?? idleHands(state);
}

function times(state: State): string | null {
  for (const { id, grantedAt } of state.leases.values()) if (grantedAt > state.now) return `lease ${id} was granted in time to come`;
  for (const {
    index,
    times,
    merge: { collecting },
  } of state.stages) {
    if (Object.values(times).some((recent) => recent.times.some((ms) => ms < 0))) return `stage ${index} has seen negative times`;
    for (const [minerId, { since }] of collecting) if (since > state.now) return `the gradient of ${minerId} is asked for in time to come`;
  }
  return null;
}

function miners(state: State): string | null {
  let members = 0;
  for (const { stage, members: crew } of state.crews) {
    members += crew.size;
    for (const miner of crew.values()) if (miner.stage !== stage.index) return `${miner.id} is in the crew of another stage`;
  }
  if (members !== state.miners.size) return `${state.miners.size} miners, but crews of ${members}`;
  const kept = new Map<string, number>();
  for (const step of state.steps.values()) {
    for (const { cells } of step.flows) {
      for (const { holder } of cells) if (holder !== null) kept.set(holder, (kept.get(holder) ?? 0) + 1);
    }
  }
  for (const miner of state.miners.values()) {
    const { id, leases } = miner;
    if (leases.size > LIMITS.leasesPerMiner) return `${id} holds ${leases.size} leases`;
    if (miner.kept !== (kept.get(id) ?? 0)) return `${id} is booked with ${miner.kept} kept inputs and keeps ${kept.get(id) ?? 0}`;
    if (miner.kept > LIMITS.keptInputs + LIMITS.leasesPerMiner) return `${id} keeps ${miner.kept} inputs`;
    if (!(miner.pace >= 0) || miner.settledAt > state.now || miner.phaseSince > state.now)
      return `${id} has a pace of ${miner.pace}, or times to come`;
    if (!miner.connected && miner.goneAt > state.now + LIMITS.restartGrace) return `${id} is gone, and kept for too long`;
    if (miner.owed !== null && !miner.resting) return `${id} is owed an assignment, and no tick will send it`;
    if (miner.phase !== 'ready' && leases.size > 0) return `${id} is ${miner.phase} and holds leases`;
    const crew = state.crewOf(miner);
    if (crew.placeOf(miner) !== crew.wherePlaced(miner)) return `${id} stands in ${crew.placeOf(miner)}, not in ${crew.wherePlaced(miner)}`;
    for (const leaseId of leases) {
      const lease = state.leases.get(leaseId);
      if (lease?.state !== 'open' || lease.minerId !== id) return `${id} holds lease ${leaseId}, which is not its own`;
      if (lease.stage !== miner.stage || lease.version !== miner.version) return `${id} holds a lease of another stage or version`;
      if (!state.taskOf(lease).open.includes(leaseId)) return `lease ${leaseId} is open and its task does not know`;
    }
  }
  return null;
}

function stages(state: State): string | null {
  const versions = state.stages.map((stage) => stage.version);
  if (Math.max(...versions) - Math.min(...versions) > 1) return `stages are at versions ${versions}`;
  for (const stage of state.stages) {
    const counted = new Set<number>();
    for (const { microbatches } of stage.merge.contributions) {
      for (const microbatch of microbatches) {
        if (counted.has(microbatch)) return `microbatch ${microbatch} is in two gradients of stage ${stage.index}`;
        counted.add(microbatch);
      }
    }
    for (const flow of state.flowsOf(stage)) {
      if (!state.config.overlap && flow.cells[stage.index]!.contributed !== (flow.purpose === 'train' && counted.has(flow.microbatch)))
        return `microbatch ${flow.microbatch} is booked as contributed at stage ${stage.index}, and is not, or the other way round`;
    }
    if (stage.applying && stage.phase !== 'merging') return `stage ${stage.index} is ${stage.phase} while a merge is applied`;
    if (state.config.overlap && stage.merge.butterfly && stage.merge.collecting.size > 0)
      return `stage ${stage.index} reduces and collects`;
    if (state.config.overlap && ![stage.version, stage.version - 1].includes(stage.merge.version))
      return `stage ${stage.index} merges step ${stage.merge.version} at version ${stage.version}`;
    // With nothing to add up it has its sum at once.
    const reduces = stage.merge.butterfly !== null || stage.merge.summed?.tokens === 0;
    if (!state.config.overlap && reduces !== (stage.phase === 'merging' && stage.merge.collecting.size === 0))
      return `stage ${stage.index} is ${stage.phase} with ${stage.merge.collecting.size} gradients to come, and ${stage.merge.butterfly ? 'reduces' : 'does not reduce'}`;
    if (!state.config.overlap && stage.merge.summed && (stage.phase !== 'merging' || stage.merge.collecting.size > 0))
      return `stage ${stage.index} has a sum, and is ${stage.phase}`;
    for (const [id, { microbatches, redone, round }] of stage.merge.collecting) {
      const miner = state.miners.get(id);
      if (miner?.stage !== stage.index || miner.round <= round) return `stage ${stage.index} asks ${id} for round ${round}`;
      if (microbatches.some((microbatch) => counted.has(microbatch))) return `${id} is asked for a microbatch that is contributed`;
      if (stage.phase === 'merging' && redone) return `stage ${stage.index} merges while a gradient is redone`;
    }
    if (stage.phase === 'merging' && !state.stepOf(stage)?.settledAt(stage.index)) return `stage ${stage.index} merges with open tasks`;
  }
  return null;
}

function steps(state: State): string | null {
  if (state.steps.size > 2) return `${state.steps.size} steps are open`;
  for (const step of state.steps.values()) {
    const open = state.stages.map(() => 0);
    const ready = state.stages.map(() => ({ forward: 0, backward: 0 }));
    let underWay = 0;
    for (const flow of step.flows) {
      if (flow.purpose === 'train' && flow.started && !flow.finished) underWay += 1;
      for (let stage = 0; stage < state.stages.length; stage++) {
        for (const slot of SLOTS) {
          const task = flow.cells[stage]![slot];
          if (!task) continue;
          const problem = taskProblem(state, flow, stage, slot, task);
          if (problem) return `microbatch ${flow.microbatch} at stage ${stage}, ${slot} (${task.state}): ${problem}`;
          if (task.state !== 'done' && task.state !== 'dropped') open[stage]! += 1;
          if (task.state === 'ready') ready[stage]![slot] += 1;
        }
      }
    }
    if (underWay !== step.underWay) return `step ${step.number}: ${underWay} under way, booked ${step.underWay}`;
    for (let stage = 0; stage < state.stages.length; stage++) {
      if (open[stage] !== step.open[stage])
        return `step ${step.number}: ${open[stage]} tasks open at stage ${stage}, booked ${step.open[stage]}`;
      const listed = { forward: step.ready[stage]!.forward.length, backward: step.ready[stage]!.backward.length };
      for (const [id, own] of step.pinned) if (state.miners.get(id)?.stage === stage) listed.backward += own.length;
      for (const slot of SLOTS) {
        if (listed[slot] !== ready[stage]![slot])
          return `step ${step.number}: ${ready[stage]![slot]} ${slot}s ready at stage ${stage}, ${listed[slot]} listed`;
      }
    }
    for (const [id, own] of step.pinned) {
      if (own.length === 0 || !state.miners.has(id)) return `step ${step.number}: an empty list, or one of nobody, is pinned to ${id}`;
    }
  }
  return null;
}

function taskProblem(state: State, flow: Flow, stage: number, slot: Slot, { state: is, open, minerId }: Task): string | null {
  if ((is === 'leased') !== open.length > 0 || open.length > 2) return `${open.length} open leases`;
  for (const id of open) if (state.leases.get(id)?.state !== 'open') return `lease ${id} is not open`;
  const record = state.stages[stage]!;
  // A gradient that is counted on must be somewhere: with a miner of this stage, or handed in.
  if (slot === 'backward' && is === 'done' && record.version === flow.step && !flow.cells[stage]!.contributed) {
    const miner = minerId === null ? undefined : state.miners.get(minerId);
    if (miner?.stage !== stage || miner.phase !== 'ready') return `its gradient was with ${minerId}, who is gone`;
  }
  if (flow.abandoned && (is === 'ready' || is === 'leased' || is === 'blocked')) return 'it was abandoned and is still to be done';
  return null;
}

/** Nobody waits without a reason: no work that could be granted lies beside somebody who could take it. */
function idleHands(state: State): string | null {
  for (const crew of state.crews) {
    const { stage } = crew;
    const step = state.stepOf(stage);
    if (stage.phase !== 'training' || !step) continue;
    for (const slot of SLOTS) {
      for (const flow of step.ready[stage.index]![slot]) {
        if (isHeldBack(state, step, stage, flow, slot)) break;
        const miner = pickFor(state, crew, flow, slot);
        if (miner) return `${miner.id} could do microbatch ${flow.microbatch} (${slot}) at stage ${stage.index}, and is not asked`;
      }
    }
    for (const id of step.pinned.keys()) {
      const miner = state.miners.get(id)!;
      if (miner.stage !== stage.index) continue;
      const place = crew.placeOf(miner);
      if (place !== 'taken') return `work waits for ${id}, who stands in ${place}`;
    }
  }
  return null;
}
