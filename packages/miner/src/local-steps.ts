/**
 * A miner's own way between two merges, where a run has inner steps: AdamW on its own copy of the stage, with moments of its own. What is
 * merged is how far it came. The copy starts at every merge from what all replicas hold; the moments go on, as in DiLoCo
 * (arXiv:2311.08105). They are in no checkpoint and a newcomer starts with zeros, since they are only this miner's: what all
 * share is the parameters and the momentum of the outer step.
 */
import { applyAdamW, innerNumbers, normOf, type ParameterLayout } from '@starling/model';
import type { InnerNumbers } from '@starling/protocol';

type Vector = Float32Array<ArrayBuffer>;

export class LocalSteps {
  readonly parameters: Vector;
  private readonly layout: ParameterLayout;
  private readonly firstMoment: Vector;
  private readonly secondMoment: Vector;
  /** Where the change that is to be handed in began. */
  private readonly start: Vector;
  private numbers: InnerNumbers;
  /** Steps taken since it fetched the stage: for the bias corrections. */
  private taken = 0;

  constructor(layout: ParameterLayout, parameters: Vector, numbers: InnerNumbers) {
    this.layout = layout;
    this.parameters = parameters.slice();
    this.start = parameters.slice();
    this.firstMoment = new Float32Array(layout.size);
    this.secondMoment = new Float32Array(layout.size);
    this.numbers = numbers;
  }

  /** One AdamW step with a gradient sum `[n]` over so many tokens. */
  step(sum: Vector, tokens: number): void {
    this.taken += 1;
    const { parameters, firstMoment, secondMoment } = this;
    applyAdamW(
      { parameters, firstMoment, secondMoment },
      sum,
      innerNumbers(this.numbers, this.taken, normOf(sum, tokens), tokens),
      this.layout,
    );
  }

  /** How far it came `[n]`: parameters before − parameters now. The next change begins here. */
  takeChange(): Vector {
    const change = this.start.map((value, i) => value - this.parameters[i]!);
    this.start.set(this.parameters);
    return change;
  }

  /** A merge: on from what everybody holds. */
  restart(parameters: Vector, numbers: InnerNumbers): void {
    this.parameters.set(parameters);
    this.start.set(parameters);
    this.numbers = numbers;
  }
}
