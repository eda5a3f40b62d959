/**
 * The coordinator alone, in memory: how many inputs a second it handles, and how that changes with the number of miners.
 * Then the whole server, over sockets.
 */
import { Coordinator, type Effect, type Input } from '@starling/coordinator';
import { environment, type Report, type Row } from './report.ts';
import { wireRows } from './wire.ts';

const STAGES = 16;
/** Every gradient and every sum. */
const HASH = 'ab'.repeat(32);
const FACTS = { name: '', backend: 'cpu', adapter: '' } as const;
/** Inputs handled before the clock starts, and then while it runs. */
const WARM_UP = 20_000;
const MEASURED = 50_000;

/** A run whose miners do at once whatever they are told, in the order they were told. */
class Loop {
  private readonly coordinator: Coordinator;
  private readonly inputs: Input[] = [];
  private next = 0;
  private now = 0;

  constructor(miners: number) {
    this.coordinator = new Coordinator(
      {
        stages: STAGES,
        microbatchesPerStep: Math.max(32, Math.ceil((4 * miners) / STAGES)),
        minMicrobatches: 1,
        clip: 'stage',
        validationMicrobatches: 0,
        validateEvery: 1,
        steps: 0,
        tokensPerMicrobatch: 1,
        overlap: false,
        // 64 shards.
        reduction: {
          parameters: new Array<number>(STAGES).fill(2 ** 18),
          codec: 'f32',
          merged: 'f32',
          means: false,
          medianClip: null,
          spotCheck: 0.05,
        },
        version: 0,
        parameterHashes: Array.from({ length: STAGES }, () => 'p0'),
        leasePrefix: 'b',
      },
      0,
    );
    for (let i = 0; i < miners; i++) this.inputs.push({ type: 'join', minerId: `m${i}`, facts: FACTS, holding: null });
  }

  /** Handles this many inputs; returns the seconds it took. */
  run(count: number): number {
    const started = performance.now();
    for (let i = 0; i < count; i++) {
      const input = this.inputs[this.next++];
      if (!input) throw new Error('The run stands still.');
      this.now += 0.01;
      for (const effect of this.coordinator.handle(input, this.now)) this.answer(effect);
    }
    this.inputs.splice(0, this.next);
    this.next = 0;
    return (performance.now() - started) / 1000;
  }

  private answer(effect: Effect): void {
    if (effect.type === 'assign') {
      const { minerId, stage, round, version } = effect;
      this.inputs.push({ type: 'ready', minerId, stage, round, version, parameterHash: `p${version}` });
    } else if (effect.type === 'grant') {
      const { minerId, lease } = effect;
      this.inputs.push({ type: 'receipt', minerId, leaseId: lease.id, outputHash: 'h', lossSum: 1, computeMs: 5 });
    } else if (effect.type === 'collect') {
      const { minerId, stage, version, round, microbatches, shards } = effect;
      const upload = { hashes: new Array<string>(shards).fill(HASH), squares: new Array<number>(shards).fill(1) };
      this.inputs.push({ type: 'contribution', minerId, stage, version, round, microbatches, ...upload });
    } else if (effect.type === 'draw') {
      const { stage, version } = effect;
      this.inputs.push({ type: 'seed', stage, version, seed: HASH, secretSeed: HASH });
    } else if (effect.type === 'reduce') {
      const { minerId, stage, version, round, shard } = effect;
      this.inputs.push({ type: 'result', minerId, stage, version, round, shard, hash: HASH });
    } else if (effect.type === 'recompute') {
      const { stage, version, round, shard } = effect;
      this.inputs.push({ type: 'recomputed', stage, version, round, shard, hash: HASH });
    } else if (effect.type === 'sum') {
      const { stage, version, shards, tokens } = effect;
      this.inputs.push({ type: 'summed', stage, version, shards, tokens, norm: 1 });
    } else if (effect.type === 'apply') {
      const version = effect.version + 1;
      this.inputs.push({ type: 'merged', stage: effect.stage, version, parameterHash: `p${version}`, ...effect.summed, clipNorm: 1 });
    } else if (effect.type === 'distribute') {
      const {
        minerId,
        stage,
        merge: { version },
      } = effect;
      this.inputs.push({ type: 'applied', minerId, stage, version, parameterHash: `p${version}` });
    }
  }
}

export async function coordinator(): Promise<Report> {
  const rates = [100, 1_000, 2_000, 10_000].map((miners) => {
    const loop = new Loop(miners);
    loop.run(Math.min(WARM_UP, 4 * miners));
    return { miners, rate: MEASURED / loop.run(MEASURED) };
  });
  const [few] = rates;
  const rows = rates.map(({ miners, rate }): Row => {
    const row = { metric: `${miners} miners, in memory`, value: rate, unit: 'inputs/s' };
    return miners === few!.miners ? row : { ...row, against: `${few!.miners} miners`, ratio: rate / few!.rate };
  });
  return { name: 'coordinator', environment: { ...environment(), stages: STAGES }, rows: [...rows, ...(await wireRows())] };
}
