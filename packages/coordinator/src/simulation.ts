/**
 * Virtual miners around the real coordinator, in virtual time: every seed is another schedule of crashes, dropped
 * sockets, stalls, spoiled gradients and repeated messages. Used by tests only.
 */
import { Coordinator } from './coordinator.ts';
import type { CoordinatorConfig, Effect, Input } from './types.ts';

/** Probability of each fault at each event. */
export interface Schedule {
  /** A tab dies: its socket closes, nothing more comes. */
  crash: number;
  /** A socket drops and comes back within the grace time. */
  drop: number;
  leave: number;
  join: number;
  /** A receipt takes longer than any deadline. */
  stall: number;
  /** An uploaded gradient is NaN. */
  spoil: number;
  /** Parameters after a merge are wrong. */
  diverge: number;
  /** A message is delivered twice. */
  duplicate: number;
}

interface VirtualMiner {
  id: string;
  alive: boolean;
  online: boolean;
  stage: number;
  version: number;
  /** Assignments so far: a merge it was told of under an earlier one is not applied any more. */
  term: number;
  /** Accepted backwards that are not handed in yet. */
  gradient: number[];
  /** The last gradient it uploaded: sent again when the server asks again. */
  handedIn: number[];
  /** Requests sent but not delivered, while offline. */
  outbox: Input[];
}

/** Mulberry32: 32-bit integer generator, enough for schedules. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Runs one seed to the end. `problem` names a broken invariant or a run that stopped making progress. */
export function simulate(
  seed: number,
  config: CoordinatorConfig,
  schedule: Schedule,
): { problem: string | null; effects: string; faults: number } {
  const random = generator(seed);
  const coordinator = new Coordinator(config);
  const miners = new Map<string, VirtualMiner>();
  const events: { at: number; order: number; run: () => void }[] = [];
  const history: string[] = [];
  const counted = new Set<string>();
  let now = 0;
  let order = 0;
  let joined = 0;
  let faults = 0;
  let closed = 0;
  let problem: string | null = null;

  const later = (delay: number, run: () => void): void => {
    events.push({ at: now + delay, order: order++, run });
  };
  const chance = (p: number) => random() < p && ++faults > 0;
  const fail = (why: string) => {
    problem ??= `${why} (at ${now} ms)`;
  };

  const deliver = (input: Input) => {
    const effects = coordinator.handle(input, now);
    history.push(JSON.stringify(effects));
    const refused = effects.some((effect) => effect.type === 'refuse');
    if (!refused && input.type === 'receipt') {
      const lease = coordinator.leaseOf(input.leaseId);
      if (lease?.kind === 'backward') miners.get(input.minerId)!.gradient.push(lease.flow.microbatch);
    }
    for (const effect of effects) carryOut(effect);
  };
  const send = (miner: VirtualMiner, input: Input) => {
    if (!miner.alive) return;
    if (!miner.online) {
      miner.outbox.push(input);
      return;
    }
    deliver(input);
    if (chance(schedule.duplicate)) deliver(input);
  };
  const join = () => {
    const miner: VirtualMiner = {
      id: `m${++joined}`,
      alive: true,
      online: true,
      stage: -1,
      version: -1,
      term: 0,
      gradient: [],
      handedIn: [],
      outbox: [],
    };
    miners.set(miner.id, miner);
    deliver({ type: 'join', minerId: miner.id, holding: null });
  };
  const delayOf = () => 20 + Math.floor(random() * 200);

  function carryOut(effect: Effect): void {
    if (effect.type === 'reduce') reduce(effect);
    if (effect.type === 'closed') {
      if (effect.step !== config.version + closed) fail(`step ${effect.step} closed out of turn`);
      closed += 1;
    }
    if (!('minerId' in effect)) return;
    const miner = miners.get(effect.minerId);
    if (!miner?.alive || !miner.online) return; // a command to a closed socket is lost
    const minerId = miner.id;
    switch (effect.type) {
      case 'assign': {
        const { stage, version } = effect;
        Object.assign(miner, { stage, version, term: miner.term + 1, gradient: [], handedIn: [] });
        later(delayOf(), () => send(miner, { type: 'ready', minerId, stage, version, parameterHash: `p${stage}@${version}` }));
        break;
      }
      case 'grant': {
        const { id: leaseId, stage, version } = effect.lease;
        if (stage !== miner.stage || version !== miner.version) fail(`${minerId} got a lease of another stage or version`);
        const computeMs = chance(schedule.stall) ? 200_000 : delayOf();
        later(computeMs, () => send(miner, { type: 'receipt', minerId, leaseId, outputHash: 'h', lossSum: 1, computeMs }));
        break;
      }
      case 'collect': {
        const { stage, version, microbatches } = effect;
        if (chance(schedule.spoil)) {
          later(delayOf(), () => send(miner, { type: 'spoiled', minerId, stage, version, code: 'TENSOR_NOT_FINITE', message: 'NaN' }));
          break;
        }
        if (`${miner.handedIn}` !== `${microbatches}`) {
          const held = miner.gradient.toSorted((a, b) => a - b);
          if (`${held}` !== `${microbatches}`) fail(`${minerId} holds [${held}] but is asked for [${microbatches}]`);
          miner.handedIn = held;
          miner.gradient = [];
        }
        const gradient = `${minerId}:${microbatches}`;
        later(delayOf(), () => send(miner, { type: 'contribution', minerId, stage, version, microbatches, gradient }));
        break;
      }
      case 'distribute': {
        const { stage, version } = effect;
        const { term } = miner;
        later(delayOf(), () => {
          if (miner.term !== term) return;
          miner.version = version;
          const parameterHash = chance(schedule.diverge) ? 'wrong' : `p${stage}@${version}`;
          send(miner, { type: 'applied', minerId, stage, version, parameterHash });
        });
        break;
      }
    }
  }

  function reduce({ stage, version, contributions }: Extract<Effect, { type: 'reduce' }>): void {
    const covered = contributions.flatMap(({ microbatches }) => microbatches);
    for (const microbatch of covered) {
      const key = `${stage}/${microbatch}`;
      if (counted.has(key)) fail(`microbatch ${microbatch} counted twice at stage ${stage}`);
      counted.add(key);
      if (Math.floor(microbatch / config.microbatchesPerStep) !== version) fail(`microbatch ${microbatch} in step ${version}`);
    }
    if (covered.length !== config.microbatchesPerStep) fail(`stage ${stage} merged ${covered.length} microbatches`);
    later(10, () => deliver({ type: 'merged', stage, version: version + 1, parameterHash: `p${stage}@${version + 1}` }));
  }

  function fault(): void {
    const alive = [...miners.values()].filter((miner) => miner.alive);
    const victim = alive[Math.floor(random() * alive.length)];
    if (victim && chance(schedule.crash)) {
      victim.alive = false;
      deliver({ type: 'disconnect', minerId: victim.id });
    }
    if (victim?.alive && chance(schedule.leave)) {
      victim.alive = false;
      deliver({ type: 'leave', minerId: victim.id });
    }
    if (victim?.alive && victim.online && chance(schedule.drop)) {
      victim.online = false;
      deliver({ type: 'disconnect', minerId: victim.id });
      later(Math.floor(random() * 8_000), () => {
        victim.online = true;
        const holding = victim.stage >= 0 ? { stage: victim.stage, version: victim.version } : null;
        deliver({ type: 'join', minerId: victim.id, holding });
        for (const input of victim.outbox.splice(0)) send(victim, input);
      });
    }
    if (chance(schedule.join) || alive.length < config.stages) join();
  }

  for (let i = 0; i < 2 * config.stages; i++) join();
  for (let count = 0; closed < config.steps - config.version && !problem; count++) {
    if (count > 200_000)
      fail(`no progress: ${JSON.stringify(coordinator.view().map(({ stage, reason }) => [stage.version, stage.phase, reason]))}`);
    if (count % 5 === 0) fault();
    events.sort((a, b) => b.at - a.at || b.order - a.order);
    const next = events.at(-1);
    if (next && next.at <= now + 1_000) {
      events.pop();
      now = Math.max(now, next.at);
      next.run();
    } else {
      now += 1_000;
      deliver({ type: 'tick' });
    }
  }
  return { problem, effects: history.join('\n'), faults };
}
