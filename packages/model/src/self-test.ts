/**
 * Whether a device computes what every other one does: a small model, whose loss and gradient are known. Browsers' shader compilers and
 * drivers have faults that show only as wrong numbers.
 */
import type { Kernels, Precision } from '@starling/kernels';
import { type ModelShape, SwarmError } from '@starling/protocol';
import { layoutOf } from './layout.ts';
import { cutStages } from './presets.ts';
import { splitMix32 } from './random.ts';
import { Stage } from './stage.ts';

const SHAPE: ModelShape = { vocabulary: 32, width: 32, layers: 1, heads: 2, keyValueHeads: 1, hidden: 48, context: 12 };
const SEQUENCES = 3;
const SEED = 11;

interface Numbers {
  lossSum: number;
  /** The gradient's product with eight fixed directions. */
  along: readonly number[];
}

/** As the CPU backend of tfjs computes it (self-test.test.ts makes it anew). */
export const GOLDEN: Readonly<Record<Precision, Numbers>> = {
  f32: {
    lossSum: 141.81617736816406,
    along: [
      -29.663295824686685, -19.415672894682512, 46.22703199678419, 109.0579081054372, -2.1025585909576656, -70.04279979234892,
      24.396343228081513, -41.45098893307804,
    ],
  },
  f16: {
    lossSum: 141.8215789794922,
    along: [
      -29.71220394492691, -19.586135026646954, 46.123256697258704, 109.10651265807951, -2.233704555678815, -69.87600164617363,
      24.362881002846777, -41.46716816219653,
    ],
  },
};

/** float32 in another order; a wrong kernel is off by far more. */
const TOLERANCE = 1e-3;

/** What `GOLDEN` is of. */
export async function selfTestNumbers(kernels: Kernels): Promise<Numbers> {
  const next = splitMix32(SEED);
  const uniform = () => next() / 2 ** 31 - 1;
  const [spec] = cutStages(SHAPE, 1);
  const { entries, size } = layoutOf(SHAPE, spec!);
  const parameters = Float32Array.from({ length: size }, () => 0.3 * uniform());
  for (const { offset, size: length, decay } of entries) if (!decay) for (let i = offset; i < offset + length; i++) parameters[i]! += 1;
  const some = () => Int32Array.from({ length: SEQUENCES * SHAPE.context }, () => next() % SHAPE.vocabulary);
  const stage = new Stage(kernels, SHAPE, spec!, { sequences: SEQUENCES });
  try {
    stage.load(parameters);
    const { lossSum, gradient } = await stage.backward(some(), some());
    stage.accumulate(gradient);
    const flat = await stage.takeGradient();
    const along = GOLDEN.f32.along.map(() => flat.reduce((sum, slope) => sum + slope * uniform(), 0));
    return { lossSum: lossSum!, along };
  } finally {
    stage.dispose();
  }
}

/** Throws `DEVICE_WRONG` with the numbers. */
export async function selfTest(kernels: Kernels): Promise<void> {
  const { lossSum, along } = await selfTestNumbers(kernels);
  const golden = GOLDEN[kernels.precision];
  const [found, known] = [
    [lossSum, ...along],
    [golden.lossSum, ...golden.along],
  ];
  const length = (values: readonly number[]) => Math.hypot(...values);
  const distance = length(found.map((value, i) => value - known[i]!)) / length(known);
  if (!(distance <= TOLERANCE)) {
    const message = `${kernels.adapter} computes other numbers than it should: loss ${lossSum.toFixed(4)} instead of ${golden.lossSum.toFixed(4)}, gradient off by ${(100 * distance).toPrecision(2)} %.`;
    throw new SwarmError('DEVICE_WRONG', message);
  }
}
