/**
 * Loss attribution (CLASP, arXiv:2507.17766): which miner's presence on a path goes with a higher loss. Routing is by load and
 * so nearly random; over many microbatches the mean loss of the paths through a miner tells it from its peers at the same stage.
 * Losses are skewed, so means are held against means: the mean of honest samples lies above their median, by more standard
 * errors the more of them there are.
 *
 * Two miners at a stage are enough, since honest work cannot lower a loss: the one with the higher is the one to look at. A
 * lone miner has no score: there is nobody to tell it from.
 *
 * It directs audits and punishes nobody: a miner may have had hard text.
 */

/** A microbatch that went all the way: who was on it, by stage, and its mean loss per token in nats. */
export interface Sample {
  step: number;
  path: readonly string[];
  loss: number;
}

export interface Attribution {
  stage: number;
  minerId: string;
  samples: number;
  /** Mean of its residuals − mean of its peers', in nats per token. A residual: loss − the step's median loss, clipped. */
  excess: number;
  /** Its excess in standard errors, corrected for few samples. */
  zScore: number;
}

/** Of a normal distribution, σ = 1.4826 · MAD. */
const MAD_TO_SIGMA = 1.4826;
/**
 * Residuals are clipped to so many σ around their median: a few very hard texts would make the errors so large that nobody stands
 * out. Of honest miners 190 in a million, at most, are then beyond 3.5 (8 to 50 samples, exponential or log-normal losses).
 */
const CLIP_SIGMAS = 3;

export class LossAttribution {
  private readonly steps: number;
  private readonly minimum: number;
  private samples: Sample[] = [];

  /** Looks back over `steps` steps; a miner with fewer than `minimum` samples there, or whose peers have fewer, has no score. */
  constructor({ steps = 100, minimum = 8 } = {}) {
    this.steps = steps;
    this.minimum = minimum;
  }

  add(sample: Sample): void {
    this.samples.push(sample);
    // The newest step is the last one, nearly: a few microbatches of an older one may come after it.
    if (this.samples[0]!.step <= sample.step - 2 * this.steps) this.trim(sample.step);
  }

  /** All miners with enough samples, by stage, the highest score first. */
  scores(): Attribution[] {
    if (this.samples.length === 0) return [];
    this.trim(Math.max(...this.samples.map(({ step }) => step)));
    const residuals = this.residuals();
    const stages = Math.max(...residuals.map(({ path }) => path.length));
    return Array.from({ length: stages }, (_, stage) => this.ofStage(stage, residuals)).flat();
  }

  private trim(newest: number): void {
    this.samples = this.samples.filter(({ step }) => step > newest - this.steps);
  }

  /** Without the step's own level, which falls as the model learns. */
  private residuals(): Residual[] {
    const byStep = Map.groupBy(this.samples, ({ step }) => step);
    const residuals = [...byStep.values()].flatMap((samples) => {
      const level = median(samples.map(({ loss }) => loss));
      return samples.map(({ path, loss }) => ({ path, value: loss - level }));
    });
    const middle = median(residuals.map(({ value }) => value));
    const sigma = MAD_TO_SIGMA * median(residuals.map(({ value }) => Math.abs(value - middle)));
    const most = sigma > 0 ? CLIP_SIGMAS * sigma : Number.POSITIVE_INFINITY;
    return residuals.map(({ path, value }) => ({ path, value: Math.min(middle + most, Math.max(middle - most, value)) }));
  }

  private ofStage(stage: number, residuals: readonly Residual[]): Attribution[] {
    const here = residuals.filter(({ path }) => path[stage] !== undefined);
    const all = momentsOf(here);
    return [...Map.groupBy(here, ({ path }) => path[stage]!)]
      .map(([minerId, residuals]) => ({ minerId, own: momentsOf(residuals) }))
      .filter(({ own: { n } }) => n >= this.minimum && all.n - n >= this.minimum)
      .map(({ minerId, own }) => {
        const peers = { n: all.n - own.n, sum: all.sum - own.sum, squares: all.squares - own.squares };
        return { stage, minerId, samples: own.n, excess: own.sum / own.n - peers.sum / peers.n, zScore: zOf(own, peers) };
      })
      .sort((a, b) => b.zScore - a.zScore);
  }
}

interface Residual {
  path: readonly string[];
  value: number;
}

/** Σ1, Σx and Σx² of samples. */
interface Moments {
  n: number;
  sum: number;
  squares: number;
}

function momentsOf(residuals: readonly Residual[]): Moments {
  const moments = { n: residuals.length, sum: 0, squares: 0 };
  for (const { value } of residuals) {
    moments.sum += value;
    moments.squares += value * value;
  }
  return moments;
}

/**
 * Welch's t of two means (Biometrika 34, 1947), with the degrees of freedom of Welch and Satterthwaite, as a normal deviate
 * (Abramowitz and Stegun, 26.7.8): few samples do not make a large score.
 */
function zOf(a: Moments, b: Moments): number {
  const squaredError = ({ n, sum, squares }: Moments) => Math.max(0, squares - (sum * sum) / n) / (n - 1) / n;
  const [errorA, errorB] = [squaredError(a), squaredError(b)];
  if (errorA + errorB === 0) return 0;
  const t = (a.sum / a.n - b.sum / b.n) / Math.sqrt(errorA + errorB);
  const freedom = (errorA + errorB) ** 2 / (errorA ** 2 / (a.n - 1) + errorB ** 2 / (b.n - 1));
  return (t * (1 - 1 / (4 * freedom))) / Math.sqrt(1 + t ** 2 / (2 * freedom));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
