/**
 * The server as a model: the real coordinator behind the real journal on the real store, with a disk that takes time
 * and a process that can be killed. What the gateway checks of tensors is replaced by what miners confess.
 */
import { Coordinator, type CoordinatorConfig, contributionsIn, type Effect, type Input, LIMITS } from '@starling/coordinator';
import { type ErrorCode, SwarmError } from '@starling/protocol';
import { Journal, type Maker, replay, type Store } from '@starling/store';
import { type Command, digest, gradientOf, parametersAfter, type Reply, type Request, reducedOf } from './messages.ts';
import type { Wire } from './network.ts';
import { VirtualDisk } from './virtual-disk.ts';
import { Watched } from './watched.ts';
import type { World } from './world.ts';

const TICK_MS = 500;
const REDUCE_MS = 20;
/** A killed server comes back after so long, if nobody says otherwise. */
const DOWN_MS = 2_000;
const FACTS = { name: 'virtual', backend: 'cpu', adapter: 'none' } as const;

const rowOf = (effect: Effect, at: number) => {
  if (effect.type === 'settled') return [{ kind: 'receipt', owner: effect.minerId, at, body: effect.leaseId }];
  return effect.type === 'closed' ? [{ kind: 'point', owner: '', at, body: `${effect.step}` }] : [];
};

interface Session {
  minerId: string;
  send(command: Command): void;
}

export class VirtualServer {
  private readonly world: World;
  private readonly store: Store;
  readonly disk: VirtualDisk;
  private readonly maker: Maker<Watched> & { rules: number };
  private journal: Journal<Input, Effect, Watched> | null = null;
  /** Which life of the process this is: what an earlier one began is void. */
  private life = 0;
  private readonly sessions = new Map<Wire, Session>();
  private readonly wires = new Map<string, Wire>();
  /** What it would serve: ahead of the log by the merges that are not durable yet. */
  private served: { version: number; parameterHash: string }[] = [];
  /** The log cannot be written. */
  private trouble = false;
  private frozenUntil = 0;
  private tickedAt = 0;
  /** The newest entry that was acknowledged. */
  private durable = 0;

  constructor(world: World, store: Store) {
    this.world = world;
    this.store = store;
    this.disk = new VirtualDisk(world, store);
    this.maker = {
      rules: 1,
      begin: (genesis, now) => new Watched(new Coordinator(genesis as CoordinatorConfig, now), world),
      restore: (snapshot) => new Watched(Coordinator.restore(snapshot as ReturnType<Coordinator['snapshot']>), world),
    };
  }

  get running(): boolean {
    return this.journal !== null;
  }

  get coordinator(): Coordinator | null {
    return this.journal?.machine.inner ?? null;
  }

  // ── life and death ────────────────────────────────────────────────────────────────────────────

  async start(config: CoordinatorConfig): Promise<void> {
    const life = ++this.life;
    const { world } = this;
    this.trouble = false;
    this.frozenUntil = 0;
    await this.disk.settled;
    const opened = await Journal.open<Input, Effect, Watched>(
      this.disk.openFor(() => life === this.life),
      this.maker,
      {
        now: () => world.timeline.now,
        soon: (task) => world.timeline.later(0, task),
        pause: (ms) => world.wait(ms),
        deliver: ({ input, effects, seq }) => {
          if (life !== this.life) return;
          if (this.struck(input, 'durable')) return;
          this.durable = seq;
          this.deliver(input, effects);
        },
        describe: ({ effects, at }) => ({
          rows: effects.flatMap((effect) => rowOf(effect, at)),
          released: effects.flatMap((effect) => (effect.type === 'release' ? [`${effect.stage}@${effect.version}`] : [])),
        }),
        onTrouble: (error) => {
          if (life === this.life) this.trouble = error !== null;
        },
      },
      { snapshotEvery: world.options.snapshotEvery },
    );
    if (life !== this.life) return;
    this.journal = opened.journal ?? (await opened.begin(config));
    this.durable = this.journal.handled;
    const { state } = this.journal.machine.inner;
    this.served = state.stages.map(({ version, parameterHash }) => ({ version, parameterHash }));
    if (opened.journal) await this.compare();
    // What was durable when the process before died, and not told to anybody.
    for (const { body } of (await this.store.rows('point', { limit: Number.MAX_SAFE_INTEGER })).reverse()) world.closed(Number(body));
    if (life !== this.life) return;
    this.submit({ type: 'restart' });
    this.tickedAt = world.timeline.now;
    this.tickLater(life);
  }

  /** Nothing is under way between it and its disk. */
  get idle(): boolean {
    return this.journal !== null && this.durable === this.journal.handled;
  }

  /** What was read from a snapshot and the tail of the log equals what the whole log gives. */
  async compare(): Promise<void> {
    // Upgrades here change nothing but the number.
    const whole = await replay(this.store, this.maker, { snapshots: false, anyRules: true });
    const [read, again] = [this.journal!.machine.snapshot(), whole!.machine.snapshot()].map((snapshot) => JSON.stringify(snapshot));
    if (read === again) return;
    const from = [...read!].findIndex((character, i) => character !== again![i]);
    const around = (text: string) => text.slice(Math.max(0, from - 120), from + 80);
    this.world.fail(`at entry ${whole!.seq} a snapshot and what follows it give …${around(read!)}…, the whole log …${around(again!)}…`);
  }

  /** `kill -9`: what was not durable is gone, with every socket. */
  kill(): void {
    this.journal = null;
    this.life += 1;
    this.hangUp();
  }

  /** SIGTERM, and what starts next has other rules; the same ones should the disk not take a last snapshot. */
  async upgrade(): Promise<void> {
    const { journal } = this;
    this.journal = null;
    this.hangUp();
    try {
      await journal!.close();
      this.maker.rules += 1;
      this.world.count('upgrade');
    } catch (error) {
      if (!(error instanceof SwarmError) || error.code !== 'STORE_FAILED') throw error;
    }
    this.life += 1;
  }

  private hangUp(): void {
    for (const wire of [...this.sessions.keys()]) wire.close();
    this.sessions.clear();
    this.wires.clear();
  }

  /** SIGSTOP: the clock stands, and what comes is read afterwards. */
  freeze(ms: number): void {
    this.frozenUntil = this.world.timeline.now + ms;
  }

  /** Puts off what the process does until it goes on; false when it is running. */
  private putOff(task: () => void): boolean {
    const { timeline } = this.world;
    if (timeline.now >= this.frozenUntil) return false;
    timeline.later(this.frozenUntil - timeline.now, task);
    return true;
  }

  private tickLater(life: number): void {
    this.world.timeline.later(TICK_MS, () => this.tick(life));
  }

  private tick(life: number): void {
    if (life !== this.life || this.putOff(() => this.tick(life))) return;
    // As the real one: no clock runs while nothing can be let out.
    if (!this.trouble) {
      const { now } = this.world.timeline;
      const idleMs = now - this.tickedAt - TICK_MS;
      this.tickedAt = now;
      this.submit(idleMs > LIMITS.tickLate ? { type: 'tick', idleMs } : { type: 'tick' });
    }
    this.tickLater(life);
  }

  // ── sockets ───────────────────────────────────────────────────────────────────────────────────

  accept(wire: Wire, minerId: string, send: (command: Command) => void): void {
    this.sessions.set(wire, { minerId, send: (command) => wire.send('down', () => send(command)) });
  }

  closed(wire: Wire, minerId: string): void {
    if (this.putOff(() => this.closed(wire, minerId))) return;
    this.sessions.delete(wire);
    if (this.wires.get(minerId) !== wire) return;
    this.wires.delete(minerId);
    this.submit({ type: 'disconnect', minerId });
  }

  serve(wire: Wire, minerId: string, request: Request, answer: (reply: Reply) => void): void {
    if (!this.journal || !this.sessions.has(wire)) return;
    if (this.putOff(() => this.serve(wire, minerId, request, answer))) return;
    if (request.name === 'hello') {
      const older = this.wires.get(minerId);
      this.wires.set(minerId, wire);
      if (older && older !== wire) older.close();
    } else if (this.wires.get(minerId) !== wire) {
      answer({ ok: false, code: 'NOT_JOINED' });
      return;
    }
    if (request.name === 'leave') this.wires.delete(minerId);
    const input = this.inputOf(minerId, request);
    this.submit(input, answer);
    // Delivered twice: the second time must change nothing.
    if (this.world.fault('duplication') && request.name !== 'hello') this.again(input);
  }

  private again(input: Input): void {
    const text = () => JSON.stringify(this.journal?.machine.snapshot()).replaceAll(/"(rejected|now)":[\d.e+-]+/g, '');
    const before = text();
    this.submit(input);
    if (text() !== before) this.world.fail(`${JSON.stringify(input)} changed something when it was delivered again`);
  }

  private struck(input: Input, moment: 'handled' | 'durable'): boolean {
    if (!this.world.options.strikes?.server?.(input, moment, this.world)) return false;
    this.world.killServer(DOWN_MS);
    return true;
  }

  private inputOf(minerId: string, request: Request): Input {
    switch (request.name) {
      case 'hello':
        return { type: 'join', minerId, facts: FACTS, holding: request.holding };
      case 'leave':
        return { type: 'leave', minerId };
      case 'receipt': {
        const { leaseId, useless } = request;
        if (useless) return { type: 'forfeit', minerId, leaseId, code: 'TENSOR_NOT_FINITE', message: 'NaN' };
        return { type: 'receipt', minerId, leaseId, outputHash: null, lossSum: 1, computeMs: 1 };
      }
      case 'contribution': {
        const { name: _, useless, ...rest } = request;
        const { stage, version, round } = rest;
        if (useless) return { type: 'spoiled', minerId, stage, version, round, code: 'TENSOR_NOT_FINITE', message: 'NaN' };
        return { type: 'contribution', minerId, ...rest, squares: rest.hashes.map(() => 1) };
      }
      default: {
        const { name, ...rest } = request;
        return { type: name, minerId, ...rest } as Input;
      }
    }
  }

  private submit(input: Input, answer?: (reply: Reply) => void): void {
    const { journal, life } = this;
    if (!journal) return;
    const submitted = journal.submit(input);
    if (this.struck(input, 'handled')) return;
    submitted.then(
      (effects) => {
        if (life !== this.life || !answer) return;
        const refusal = effects.find((effect) => effect.type === 'refuse');
        if (refusal) return answer({ ok: false, code: refusal.code as ErrorCode });
        const settled = effects.find((effect) => effect.type === 'settled');
        answer({ ok: true, counted: settled?.outcome === 'counted' });
      },
      (error) => this.world.fail(`the journal broke: ${error}`),
    );
  }

  // ── effects ───────────────────────────────────────────────────────────────────────────────────

  private deliver(input: Input, effects: readonly Effect[]): void {
    if (input.type === 'merged') this.world.merged(input.stage, input.version);
    for (const effect of effects) this.carryOut(effect);
  }

  private carryOut(effect: Effect): void {
    const { world } = this;
    switch (effect.type) {
      case 'assign': {
        world.stats.assigned += 1;
        const { minerId, stage, round } = effect;
        this.tell(minerId, { name: 'assign', stage, round, ...this.served[stage]! });
        break;
      }
      case 'grant':
        this.tell(effect.minerId, { name: 'lease', lease: effect.lease });
        break;
      case 'cancel':
        this.tell(effect.minerId, { name: 'cancel', leaseId: effect.leaseId });
        break;
      case 'collect': {
        const { type: _, minerId, ...rest } = effect;
        this.tell(minerId, { name: 'collect', ...rest });
        break;
      }
      case 'distribute':
        this.tell(effect.minerId, { name: 'merge', stage: effect.stage, merge: effect.merge });
        break;
      case 'reduce': {
        const { type: _, minerId, ...rest } = effect;
        this.tell(minerId, { name: 'reduce', ...rest });
        break;
      }
      case 'draw':
      case 'recompute':
      case 'sum':
      case 'apply': {
        const { life } = this;
        world.timeline.later(REDUCE_MS / 2, () => {
          if (life !== this.life) return;
          if (effect.type === 'draw') this.draw(effect);
          else if (effect.type === 'recompute') this.recompute(effect);
          else if (effect.type === 'sum') this.sum(effect);
          else this.apply(effect);
        });
        break;
      }
      case 'prefetch': // no bytes here
        break;
      case 'dismiss':
        this.wires.get(effect.minerId)?.close();
        break;
      case 'settled':
        world.settled(effect.minerId, effect.leaseId, effect.outcome);
        break;
      case 'closed':
        world.closed(effect.step);
        break;
      case 'event':
        world.event(effect.code, effect.message);
        break;
    }
  }

  private draw({ stage, version, over }: Extract<Effect, { type: 'draw' }>): void {
    this.submit({ type: 'seed', stage, version, seed: digest(over), secretSeed: digest(`secret ${over}`) });
  }

  private recompute(task: Extract<Effect, { type: 'recompute' }>): void {
    const { stage, version, round, shard } = task;
    this.submit({ type: 'recomputed', stage, version, round, shard, hash: reducedOf(task) });
  }

  private sum({ stage, version: before, tokens, shards }: Extract<Effect, { type: 'sum' }>): void {
    const { world } = this;
    const record = this.coordinator!.stage(stage);
    if (record.merge.version !== before || record.merge.summed) return; // the log had it already when this process began
    const included = contributionsIn(record);
    const counted = new Set<number>();
    for (const { minerId, hashes, microbatches } of included) {
      if (`${hashes}` !== `${gradientOf(stage, before, microbatches, hashes.length)}`)
        world.fail(`${minerId} handed in something else as [${microbatches}] of stage ${stage}@${before}`);
      for (const microbatch of microbatches) {
        if (counted.has(microbatch)) world.fail(`microbatch ${microbatch} counts twice at stage ${stage}`);
        if (Math.floor(microbatch / world.config.microbatchesPerStep) !== before)
          world.fail(`microbatch ${microbatch} counts in step ${before}`);
        counted.add(microbatch);
      }
    }
    shards.forEach((hash, shard) => {
      const truth = reducedOf({
        shard,
        contributions: included.map(({ minerId, hashes }) => ({ memberId: minerId, hash: hashes[shard]!, scale: 1 })),
      });
      if (hash !== truth) world.fail(`shard ${shard} of stage ${stage}@${before} is merged falsely`);
    });
    const { minMicrobatches, microbatchesPerStep, tokensPerMicrobatch } = world.config;
    if (counted.size < minMicrobatches) world.fail(`stage ${stage} merges ${counted.size} of ${microbatchesPerStep} microbatches`);
    if (tokens !== counted.size * tokensPerMicrobatch) world.fail(`stage ${stage} weighs by ${tokens} tokens`);
    world.merging(stage, before, counted);
    this.submit({ type: 'summed', stage, version: before, shards, norm: 1 + stage, tokens });
  }

  private apply({ stage, version: before, summed, clipNorm }: Extract<Effect, { type: 'apply' }>): void {
    const { parameterHash: old, version: held } = this.served[stage]!;
    if (held !== before) return; // the log had it already when this process began
    const parameterHash = parametersAfter(old, { ...summed, clipNorm });
    const version = before + 1;
    this.served[stage] = { version, parameterHash };
    this.submit({ type: 'merged', stage, version, parameterHash, ...summed, clipNorm });
  }

  private tell(minerId: string, command: Command): void {
    const wire = this.wires.get(minerId);
    if (wire) this.sessions.get(wire)?.send(command);
  }
}
