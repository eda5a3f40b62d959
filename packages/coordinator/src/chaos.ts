/** For this package's tests: miners and a world that do whatever comes to mind, right things more often than wrong ones. */
import { type Dice, digest, hashOf, type Swarm, uploadOf } from './for-tests.ts';
import type { Input } from './types.ts';

export interface Mood {
  /** How many miners there may be. */
  miners: number;
  /** Share of inputs that are faults, lies, or nonsense. */
  wrong: number;
}

/** One more input, and some time before it. */
export function disturb(swarm: Swarm, dice: Dice, { miners, wrong }: Mood): void {
  swarm.wait(dice.chance(0.3) ? 0 : dice.below(400));
  if (dice.chance(wrong)) misbehave(swarm, dice, miners);
  else behave(swarm, dice);
}

const here = (swarm: Swarm) => [...swarm.hands.keys()].filter((id) => swarm.coordinator.miner(id)?.connected);

/** Somebody does something of what is to be done. */
function behave(swarm: Swarm, dice: Dice): void {
  const todo: (() => void)[] = [() => swarm.tick()];
  for (const id of here(swarm)) {
    const { assigned, leases, collect, reduces, merge } = swarm.hands.get(id)!;
    if (assigned) todo.push(() => swarm.load(id));
    if (collect && !assigned) todo.push(() => swarm.contribute(id));
    if (merge && !assigned) todo.push(() => swarm.apply(id));
    if (reduces.length > 0 && !assigned) todo.push(() => swarm.reduce(id));
    const [lease] = leases.values();
    // The whole queue before the gradient: that is how a miner's queue works.
    if (lease && !collect) todo.push(() => swarm.receipt(id, lease.id));
  }
  for (const stage of swarm.draws.keys()) todo.push(() => swarm.draw(stage));
  if (swarm.recomputes.length > 0) todo.push(() => swarm.recompute());
  for (const stage of swarm.sums.keys()) todo.push(() => swarm.merge(stage));
  for (const apply of swarm.applies.values()) todo.push(() => swarm.applied(apply));
  dice.pick(todo)!();
}

function misbehave(swarm: Swarm, dice: Dice, most: number): void {
  const { coordinator } = swarm;
  const ids = [...swarm.hands.keys()];
  const id = dice.pick(ids) ?? 'm0';
  const hands = swarm.hands.get(id);
  const miner = coordinator.miner(id);
  const connected = miner?.connected ?? false;
  const newcomer = () => ids.length < most && swarm.join(`m${dice.below(2 * most)}`);
  const anyLease = () => `t-${1 + dice.below(coordinator.state.leaseCount + 1)}`;
  const stage = dice.below(coordinator.config.stages);
  const version = Math.max(0, coordinator.versionOf(stage) - dice.below(2));
  const own = dice.pick([...(hands?.leases.keys() ?? [])]);
  const acts: (() => void)[] = [
    newcomer,
    newcomer,
    newcomer,
    () => connected && swarm.disconnect(id),
    () => connected && dice.chance(0.3) && swarm.leave(id),
    () => miner && swarm.resume(id),
    () => miner && swarm.resume(id),
    () => miner && dice.chance(0.3) && swarm.join(id),
    () => miner && swarm.join(id, { stage, version }),
    () => connected && own && swarm.forfeit(id, own),
    () => connected && own && swarm.busy(id, own, dice.below(4_000)),
    () => connected && swarm.busy(id, null, dice.chance(0.5) ? 0 : dice.below(30_000)),
    () => connected && swarm.receipt(id, anyLease()),
    () => connected && swarm.forfeit(id, anyLease()),
    () => connected && hands?.assigned && swarm.load(id, 'another hash'),
    () => connected && hands?.merge && swarm.apply(id, 'another hash'),
    () => connected && hands?.collect && swarm.spoil(id),
    () => hands && hands.reduces.length > 0 && swarm.reduce(id, digest('a lie')),
    () => hands?.reduces.shift(),
    () => swarm.send({ type: 'result', minerId: id, stage, version, round: dice.below(4), shard: dice.below(3), hash: digest('a lie') }),
    () => swarm.send({ type: 'ready', minerId: id, stage, round: dice.below(40), version, parameterHash: hashOf(stage, version) }),
    () => swarm.send({ type: 'applied', minerId: id, stage, version, parameterHash: hashOf(stage, version) }),
    () => {
      const round = dice.below(40);
      if (coordinator.collectsFrom(id, stage, version, round)) return;
      swarm.send({ type: 'contribution', minerId: id, stage, version, round, microbatches: [0], ...uploadOf('wrong', 0, 2) });
    },
    () => {
      if (!connected || !hands?.collect) return;
      const { round } = hands.collect;
      swarm.send({
        type: 'contribution',
        minerId: id,
        stage: miner!.stage,
        version: miner!.version,
        round,
        microbatches: [],
        ...uploadOf('wrong', 0, 2),
      });
    },
    () => dice.chance(0.1) && swarm.send(configured(swarm, dice)),
    () => dice.chance(0.1) && swarm.wait(dice.below(100_000)).send({ type: 'restart' }),
    () => swarm.tick(dice.below(dice.chance(0.1) ? 400_000 : 30_000)),
  ];
  dice.pick(acts)!();
}

function configured(swarm: Swarm, dice: Dice): Input {
  const { validateEvery, minMicrobatches } = swarm.coordinator.config;
  const versions = swarm.stages.map((stage) => stage.version);
  const steps = dice.chance(0.5) ? 0 : Math.max(1, Math.min(...versions) + dice.below(3));
  return { type: 'configure', goals: { steps, validateEvery, minMicrobatches } };
}

/**
 * Nothing goes wrong any more: everybody comes back and does what is to be done, until the run has made `steps` further
 * steps and is complete, and everybody is at rest. Throws when that does not come about.
 */
export function calm(swarm: Swarm, steps: number): void {
  const { coordinator } = swarm;
  const { validateEvery, minMicrobatches, stages } = coordinator.config;
  const goal = Math.max(...swarm.stages.map((stage) => stage.version)) + steps;
  swarm.send({ type: 'configure', goals: { steps: goal, validateEvery, minMicrobatches } });
  for (const until = swarm.now + PATIENCE_MS; swarm.now < until; swarm.tick(1_000)) {
    for (let i = coordinator.minerCount; i < stages; i++) swarm.join(`calm ${i}-${swarm.now}`);
    for (const id of swarm.hands.keys()) {
      const miner = coordinator.miner(id);
      // What a miner says that left long ago would only be refused.
      if (!miner) swarm.hands.delete(id);
      else if (!miner.connected) swarm.resume(id);
    }
    swarm.round(goal, 20);
    if (restless(swarm) === null) return;
  }
  throw new Error(`No rest at version ${goal}: ${restless(swarm)}`);
}
const PATIENCE_MS = 3_600_000;

/** What is still to be done in a complete run; null when there is nothing. */
function restless({ coordinator, stages }: Swarm): string | null {
  const { state } = coordinator;
  const stage = stages.find(({ phase, merge: { collecting } }) => phase !== 'complete' || collecting.size > 0);
  if (stage)
    return `stage ${stage.index} is ${stage.phase} at ${stage.version}: ${JSON.stringify(coordinator.view()[stage.index]!.reason)}`;
  if (state.steps.size > 0) return `step ${[...state.steps.keys()]} is open`;
  for (const { id, phase, version, stage: at, leases, kept, resting, owed, connected } of state.miners.values()) {
    if (phase === 'ready' && version === stages[at]!.version && leases.size + kept === 0 && !resting && !owed && connected) continue;
    return `${id} is ${phase} at ${version}, with ${leases.size} leases, ${resting ? 'resting' : ''} ${owed ?? ''}`;
  }
  return null;
}
