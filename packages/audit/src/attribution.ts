/**
 * Loss attribution (CLASP): which miner's presence on a path goes with a higher loss. Routing is by load and so nearly
 * random; over many microbatches the mean loss of the paths through a miner tells it from its peers at the same stage.
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
  /** Mean over its samples of loss − the step's median loss, in nats per token. */
  excess: number;
  /** (mean − median over all samples) ÷ (1.4826 · MAD ÷ √samples). */
  zScore: number;
}

/** Of a normal distribution, σ = 1.4826 · MAD. */
const MAD_TO_SIGMA = 1.4826;

export class LossAttribution {
  private readonly steps: number;
  private readonly minimum: number;
  private samples: Sample[] = [];

  /** Looks back over `steps` steps; a miner with fewer than `minimum` samples there has no score. */
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
    const values = residuals.map(({ value }) => value);
    const middle = median(values);
    const sigma = MAD_TO_SIGMA * median(values.map((value) => Math.abs(value - middle)));
    const stages = Math.max(...residuals.map(({ path }) => path.length));
    return Array.from({ length: stages }, (_, stage) => this.ofStage(stage, residuals, middle, sigma)).flat();
  }

  private trim(newest: number): void {
    this.samples = this.samples.filter(({ step }) => step > newest - this.steps);
  }

  /** Without the step's own level, which falls as the model learns. */
  private residuals(): { path: readonly string[]; value: number }[] {
    const byStep = Map.groupBy(this.samples, ({ step }) => step);
    return [...byStep.values()].flatMap((samples) => {
      const level = median(samples.map(({ loss }) => loss));
      return samples.map(({ path, loss }) => ({ path, value: loss - level }));
    });
  }

  private ofStage(
    stage: number,
    residuals: readonly { path: readonly string[]; value: number }[],
    middle: number,
    sigma: number,
  ): Attribution[] {
    const byMiner = Map.groupBy(residuals, ({ path }) => path[stage] ?? '');
    return [...byMiner]
      .filter(([minerId, own]) => minerId !== '' && own.length >= this.minimum)
      .map(([minerId, own]) => {
        const excess = own.reduce((sum, { value }) => sum + value, 0) / own.length;
        const error = sigma / Math.sqrt(own.length);
        return { stage, minerId, samples: own.length, excess, zScore: error === 0 ? 0 : (excess - middle) / error };
      })
      .sort((a, b) => b.zScore - a.zScore);
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
