/**
 * A whole run once more, in one process without sockets, from its log alone: the log says which microbatches were merged,
 * by whom they were added up and in which order. What the swarm did under faults is right if and only if every version of
 * every stage comes out with the same bits.
 */
import { crossingOf } from '@starling/codecs';
import { type Contributed, contributionsIn, type Effect, type Input } from '@starling/coordinator';
import { createKernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import { applyAdamW, initialParameters, layoutOf, normOf, optimizerNumbers, presetOf, Stage, sumGradients } from '@starling/model';
import { SwarmError, sha256Hex } from '@starling/protocol';
import { type Corpus, type Machine, maker, Sampler } from '@starling/server/log';
import { openReader, replay } from '@starling/store';

type Vector = Float32Array<ArrayBuffer>;

/** One merge as the log has it. */
interface Merged {
  parameterHash: string;
  contributions: Contributed[];
}

export interface LoggedRun {
  machine: Machine;
  /** By `stage@version`. */
  merges: ReadonlyMap<string, Merged>;
  /** Receipts that counted, and those that came when they were not needed. */
  receipts: { counted: number; surplus: number };
  /** Microbatches that were in two gradients of one merge. */
  countedTwice: number;
}

/** Reads every merge out of a log. Throws `LOG_UNREADABLE` for one that spans an upgrade to other rules, and what `replay` throws. */
export async function readRun(where: string): Promise<LoggedRun> {
  const reader = await openReader(where);
  try {
    const merges = new Map<string, Merged>();
    const receipts = { counted: 0, surplus: 0 };
    let countedTwice = 0;
    const pending = new Map<number, Contributed[]>();
    let machine: Machine | null = null;
    const watched = {
      ...maker,
      begin: (genesis: unknown, now: number) => watch(maker.begin(genesis, now)),
    };
    const watch = (inner: Machine): Machine => {
      const handle = inner.handle.bind(inner);
      machine = inner;
      inner.handle = (input: Input, now: number): Effect[] => {
        const effects = handle(input, now);
        for (const effect of effects) {
          if (effect.type === 'sum') pending.set(effect.stage, contributionsIn(inner.coordinator.stage(effect.stage)));
          if (effect.type === 'settled') receipts[effect.outcome] += 1;
          if (effect.type === 'release' && input.type === 'merged') {
            const { stage, version, parameterHash } = input;
            const contributions = pending.get(stage)!;
            const microbatches = contributions.flatMap((contributed) => contributed.microbatches);
            countedTwice += microbatches.length - new Set(microbatches).size;
            merges.set(`${stage}@${version}`, { parameterHash, contributions });
          }
        }
        return effects;
      };
      return inner;
    };
    const read = await replay(reader, watched, { snapshots: false, anyRules: true });
    if (read?.otherRules) {
      const { seq, rules } = read.otherRules;
      throw new SwarmError(
        'LOG_UNREADABLE',
        `The log is of rules ${rules} up to entry ${seq}, and this release has rules ${maker.rules}: it cannot compute the whole run again.`,
      );
    }
    return { machine: machine!, merges, receipts, countedTwice };
  } finally {
    await reader.close();
  }
}

/** How many versions of stages came out the same, of how many; `steps` limits the work. */
export async function recompute(
  { machine, merges }: LoggedRun,
  corpus: Corpus,
  steps: number,
  onStep: (step: number, same: boolean) => void,
): Promise<{ same: number; total: number }> {
  const { run } = machine.genesis;
  const { optimizer } = presetOf(run.preset);
  const sampler = new Sampler(corpus, { sequences: run.sequences, context: run.model.context, seed: run.seed });
  const kernels = await createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
  const stages = run.stages.map((spec) => {
    const parameters = initialParameters(run.model, spec, run.seed);
    const stage = new Stage(kernels, run.model, spec, { sequences: run.sequences });
    stage.load(parameters);
    const zero = () => new Float32Array(parameters.length);
    return { stage, layout: layoutOf(run.model, spec), vectors: { parameters, firstMoment: zero(), secondMoment: zero() } };
  });
  const crossing = crossingOf(run);
  /** As the stage on the other side gets it. */
  const cross = (x: Vector) => crossing.input(crossing.pack(x));
  let same = 0;
  let total = 0;
  const last = Math.min(steps, Math.min(...machine.coordinator.view().map(({ stage }) => stage.version)));
  for (let version = 1; version <= last; version++) {
    const of = stages.map((_, index) => merges.get(`${index}@${version}`)!);
    const microbatches = [...new Set(of.flatMap(({ contributions }) => contributions.flatMap((each) => each.microbatches)))];
    const texts = new Map(microbatches.map((microbatch) => [microbatch, sampler.train(microbatch)]));
    // Forwards: what each stage gets as its input.
    const inputs = stages.map(() => new Map<number, Vector | Int32Array>());
    for (const microbatch of microbatches) {
      let input: Vector | Int32Array = texts.get(microbatch)!.tokens;
      for (const [index, { stage }] of stages.entries()) {
        inputs[index]!.set(microbatch, input);
        if (index < stages.length - 1) input = cross(await stage.forward(input));
      }
    }
    // Backwards, from the last stage down, each gradient sum in its miner's order.
    let upstream = new Map<number, Vector | Int32Array>(microbatches.map((microbatch) => [microbatch, texts.get(microbatch)!.targets]));
    const summed: { sum: Vector; tokens: number; norm: number }[] = [];
    let equal = true;
    for (let index = stages.length - 1; index >= 0; index--) {
      const { stage } = stages[index]!;
      const below = new Map<number, Vector | Int32Array>();
      const sums: Vector[] = [];
      for (const { microbatches: own } of of[index]!.contributions) {
        for (const microbatch of own) {
          const { gradient, inputGradient } = await stage.backward(inputs[index]!.get(microbatch)!, upstream.get(microbatch)!);
          stage.accumulate(gradient);
          if (inputGradient) below.set(microbatch, cross(inputGradient));
        }
        sums.push(await stage.takeGradient());
      }
      // Left out of this stage's merge, and wanted by the stage below.
      for (const microbatch of microbatches) {
        if (index === 0 || below.has(microbatch) || !upstream.has(microbatch)) continue;
        const { gradient, inputGradient } = await stage.backward(inputs[index]!.get(microbatch)!, upstream.get(microbatch)!);
        stage.discard(gradient);
        below.set(microbatch, inputGradient!);
      }
      upstream = below;
      const tokens = of[index]!.contributions.reduce((n, each) => n + each.microbatches.length, 0) * run.sequences * run.model.context;
      const sum = sumGradients(sums);
      summed[index] = { sum, tokens, norm: normOf(sum, tokens) };
    }
    const global = Math.sqrt(summed.reduce((squares, { norm }) => squares + norm * norm, 0));
    for (const [index, { stage, layout, vectors }] of stages.entries()) {
      const { sum, tokens, norm } = summed[index]!;
      applyAdamW(vectors, sum, optimizerNumbers(optimizer, version, run.clip === 'global' ? global : norm, tokens), layout);
      stage.load(vectors.parameters);
      total += 1;
      if ((await sha256Hex(vectors.parameters)) === of[index]!.parameterHash) same += 1;
      else equal = false;
    }
    onStep(version, equal);
  }
  kernels.close();
  return { same, total };
}
