/**
 * Miners that cheat, one kind each. They compute with the real stage where they compute at all, and they sign what they send: what is
 * false is the work.
 */
import { crossingOf, QUANTISERS, type Vector } from '@starling/codecs';
import { layoutOf } from '@starling/model';
import { boundaryWidth, type TensorData } from '@starling/protocol';
import type { AuditedRun, GivenLease, StageWork } from '../evidence.ts';
import type { Outcome } from '../replay.ts';
import type { Claims } from './claims.ts';
import type { Compute } from './rehearsal.ts';

/** What a cheat has at hand. */
export interface Scene {
  run: AuditedRun;
  /** Its own step. */
  work: StageWork;
  /** Its own work of the step before, with the parameters of that version; null at the first. */
  before: StageWork | null;
  /** The parameters it was first given. */
  first: StageWork;
  /** What another miner of the stage does in the same step: other microbatches. */
  neighbour: StageWork;
  compute: Compute;
  /** Uniform in [0, 1). */
  random(): number;
}

export interface Attack {
  name: string;
  /** What it does, and what it saves. */
  what: string;
  /** Share of its own steps in which it cheats. */
  share: number;
  claims(scene: Scene): Promise<Claims>;
}

type Numbers = (x: number, scene: Scene) => number;

const honest = ({ run, work, compute }: Scene): Promise<Claims> => compute(run, work);
const withParameters = ({ run, work, compute }: Scene, parameters: Vector, name: string): Promise<Claims> =>
  compute(run, { ...work, parameters, parameterHash: `${name} ${work.parameterHash}` });

/** Every number that is sent, made another. What is sent is written for the wire again. */
function changed(scene: Scene, { outcomes, gradient }: Claims, numbers: Numbers): Claims {
  const crossing = crossingOf(scene.run);
  const each = (x: Vector): Vector => x.map((value) => numbers(value, scene));
  return {
    outcomes: outcomes.map(({ output, lossSum }) => ({
      output: output && crossing.pack(each(crossing.unpack(output))),
      lossSum: lossSum === null ? null : Math.abs(numbers(lossSum, scene)),
    })),
    gradient: gradient && each(gradient),
  };
}

/** What fits without computing anything. */
function blank({ run, work }: Scene): Claims {
  const crossing = crossingOf(run);
  const { isFirst, isLast } = run.stages[work.stage]!;
  const tokens = run.sequences * run.model.context;
  const outcome = ({ kind }: GivenLease): Outcome => ({
    output: kind === 'backward' ? (isFirst ? null : zeros()) : isLast ? null : zeros(),
    // Of a model that knows nothing: what an honest one has at first.
    lossSum: isLast ? tokens * Math.log(run.model.vocabulary) : null,
  });
  const zeros = (): TensorData => crossing.pack(new Float32Array(tokens * boundaryWidth(run.model)));
  return { outcomes: work.leases.map(outcome), gradient: new Float32Array(work.parameters.length) };
}

/** Irwin–Hall, less its mean: near normal, deviation 1. */
const normal = ({ random }: Scene) => Array.from({ length: 12 }, random).reduce((sum, x) => sum + x, -6);

/** Its leases, on what another miner was given. */
const swapped = (work: StageWork, other: StageWork): StageWork => ({
  ...work,
  leases: work.leases.map((lease, i) => {
    const { input, tokens, upstream } = other.leases[i % other.leases.length]!;
    return { ...lease, input, tokens, upstream };
  }),
});

/** The last layer writes nothing into the residual stream, as if it were not there. */
function withoutLastLayer({ run, work }: Scene): Vector {
  const spec = run.stages[work.stage]!;
  const parameters = work.parameters.slice();
  const last = `layers.${spec.firstLayer + spec.layers - 1}.`;
  for (const { name, offset, size } of layoutOf(run.model, spec).entries) {
    if (name === `${last}attention.output` || name === `${last}feedForward.down`) parameters.fill(0, offset, offset + size);
  }
  return parameters;
}

const half = (x: Vector): Vector => QUANTISERS.f16.decode(QUANTISERS.f16.encode(x, x.length), x.length);

export const ATTACKS: readonly Attack[] = [
  {
    ...{ name: 'zeros', what: 'Sends zeros and computes nothing.', share: 1 },
    claims: async (scene) => blank(scene),
  },
  {
    ...{ name: 'noise', what: 'Sends normal noise and computes nothing.', share: 1 },
    claims: async (scene) => changed(scene, blank(scene), (_, s) => normal(s)),
  },
  {
    ...{ name: 'scaled', what: 'Sends its results times 1.05.', share: 1 },
    claims: async (scene) => changed(scene, await honest(scene), (x) => 1.05 * x),
  },
  {
    ...{ name: 'stale parameters', what: 'Computes with the parameters of the version before.', share: 1 },
    claims: (scene) => withParameters(scene, (scene.before ?? scene.work).parameters, 'stale'),
  },
  {
    ...{ name: 'previous output replayed', what: 'Sends the results of the step before once more.', share: 1 },
    claims: ({ run, before, work, compute }) => compute(run, before ?? work),
  },
  {
    ...{ name: 'copied from another miner', what: 'Sends what another miner of the stage sent.', share: 1 },
    claims: ({ run, neighbour, compute }) => compute(run, neighbour),
  },
  {
    ...{ name: 'wrong microbatch', what: 'Computes on other text than it was given.', share: 1 },
    claims: ({ run, work, neighbour, compute }) => compute(run, swapped(work, neighbour)),
  },
  {
    ...{ name: 'skipped layer', what: 'Leaves its last layer out.', share: 1 },
    claims: (scene) => withParameters(scene, withoutLastLayer(scene), 'skipped'),
  },
  {
    ...{ name: 'truncated context', what: 'Attends over half the context only.', share: 1 },
    claims: ({ run, work, compute }) => {
      const model = { ...run.model, context: run.model.context / 2 };
      return compute({ ...run, model, sequences: 2 * run.sequences }, work);
    },
  },
  {
    ...{ name: 'low precision', what: 'Keeps parameters and results in 16 bits.', share: 1 },
    claims: async (scene) => {
      const { outcomes, gradient } = await withParameters(scene, half(scene.work.parameters), 'half');
      const crossing = crossingOf(scene.run);
      return {
        outcomes: outcomes.map(({ output, lossSum }) => ({ output: output && crossing.pack(half(crossing.unpack(output))), lossSum })),
        gradient: gradient && half(gradient),
      };
    },
  },
  {
    ...{ name: 'lazy backward', what: 'Computes forwards; sends zeros for all gradients.', share: 1 },
    claims: async (scene) => {
      const { work } = scene;
      const right = await honest(scene);
      const lazy = blank(scene);
      const outcomes = work.leases.map(({ kind }, i) =>
        kind === 'backward' ? { output: lazy.outcomes[i]!.output, lossSum: right.outcomes[i]!.lossSum } : right.outcomes[i]!,
      );
      return { outcomes, gradient: lazy.gradient };
    },
  },
  {
    ...{ name: 'sign-flipped gradient', what: 'Hands in its gradient sum times −1; all else is right.', share: 1 },
    claims: async (scene) => ofGradient(await honest(scene), (x) => -x),
  },
  {
    ...{ name: 'scaled gradient', what: 'Hands in its gradient sum times 3; all else is right.', share: 1 },
    claims: async (scene) => ofGradient(await honest(scene), (x) => 3 * x),
  },
  {
    ...{ name: 'parameters never updated', what: 'Computes with what it first loaded, and reports the hashes it is told.', share: 1 },
    claims: (scene) => withParameters(scene, scene.first.parameters, 'first'),
  },
  {
    ...{ name: 'honest 95 % of the time', what: 'Sends zeros in one step of twenty.', share: 0.05 },
    claims: async (scene) => blank(scene),
  },
];

const ofGradient = ({ outcomes, gradient }: Claims, numbers: (x: number) => number): Claims => ({
  outcomes,
  gradient: gradient?.map(numbers) ?? null,
});
