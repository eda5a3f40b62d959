/** For tests and benchmarks: miners that are real in everything but what they say they computed. */
import { type Crossing, crossingOf, type Vector } from '@starling/codecs';
import type { RunConfig, TensorData } from '@starling/protocol';
import type { HeldStage } from './held-stage.ts';

export const TAMPERINGS = [
  'zeros',
  'noise',
  'scaled',
  'previous output replayed',
  'lazy backward',
  'sign-flipped gradient',
  'scaled gradient',
  'gradient × −10⁶',
  'poison',
] as const;
export type Tampering = (typeof TAMPERINGS)[number];

type Change = (x: Vector) => Vector;
const same: Change = (x) => x;
const scaledBy =
  (factor: number): Change =>
  (x) =>
    x.map((value) => factor * value);
const zeros = scaledBy(0);

/** As large as what it stands for, and nothing else like it. */
const noise: Change = (x) => {
  const size = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
  return x.map(() => size * Math.sqrt(3) * (2 * Math.random() - 1));
};

interface Changes {
  output: Change;
  inputGradient: Change;
  gradient: Change;
}

function changesOf(tampering: Tampering): Changes {
  switch (tampering) {
    case 'zeros':
      return { output: zeros, inputGradient: zeros, gradient: zeros };
    case 'noise':
      return { output: noise, inputGradient: noise, gradient: noise };
    case 'scaled':
      return { output: scaledBy(1.05), inputGradient: scaledBy(1.05), gradient: scaledBy(1.05) };
    case 'previous output replayed':
      return { output: delayed(), inputGradient: delayed(), gradient: same };
    case 'lazy backward':
      return { output: same, inputGradient: zeros, gradient: zeros };
    case 'sign-flipped gradient':
      return { output: same, inputGradient: same, gradient: scaledBy(-1) };
    case 'scaled gradient':
      return { output: same, inputGradient: same, gradient: scaledBy(3) };
    case 'gradient × −10⁶':
      return { output: same, inputGradient: same, gradient: scaledBy(-1e6) };
    case 'poison':
      return { output: same, inputGradient: poison(), gradient: same };
  }
}

/** In turn what nothing finite could be made of, which is refused, and more than may cross, which is said as the largest that may. */
function poison(): Change {
  let sent = 0;
  return (x) => {
    sent += 1;
    return new Float32Array(x.length).fill(sent % 2 === 1 ? 3e38 : 9e5);
  };
}

function delayed(): Change {
  let last: Vector | null = null;
  return (x) => {
    const before = last ?? x;
    last = x;
    return before;
  };
}

const written = (crossing: Crossing, tensor: TensorData, change: Change): TensorData => crossing.pack(change(crossing.unpack(tensor)));

/** The stage, with false results. */
export function tampered(held: HeldStage, run: RunConfig, tampering: Tampering): HeldStage {
  const crossing = crossingOf(run);
  const { output, inputGradient, gradient } = changesOf(tampering);
  const { forward, backward, takeGradient } = held;
  held.forward = async (input) => written(crossing, await forward.call(held, input), output);
  held.backward = async (input, upstream) => {
    const result = await backward.call(held, input, upstream);
    return { ...result, inputGradient: result.inputGradient && written(crossing, result.inputGradient, inputGradient) };
  };
  held.takeGradient = async (round) => {
    const taken = await takeGradient.call(held, round);
    return taken && { ...taken, sum: gradient(taken.sum) };
  };
  return held;
}
