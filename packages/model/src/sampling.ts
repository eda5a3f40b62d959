/** Choosing the next token from logits. */

export interface Sampling {
  /** Divides the logits: 0 takes the likeliest token, 1 what the model says, more is bolder. */
  temperature: number;
  /** Only the likeliest tokens that together have this probability (nucleus sampling, arXiv:1904.09751); 1 for all. */
  topP: number;
}

/** The index of one logit. `random` gives a number in [0, 1). */
export function sample(logits: ArrayLike<number>, { temperature, topP }: Sampling, random: () => number): number {
  const likeliest = Array.from(logits, (_, token) => token).sort((a, b) => logits[b]! - logits[a]! || a - b);
  if (temperature <= 0) return likeliest[0]!;
  const largest = logits[likeliest[0]!]!;
  const weights = likeliest.map((token) => Math.exp((logits[token]! - largest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let kept = 0;
  let mass = 0;
  while (kept < weights.length && (kept === 0 || mass < topP * total)) mass += weights[kept++]!;
  let left = random() * mass;
  for (let i = 0; i < kept; i++) {
    left -= weights[i]!;
    if (left < 0) return likeliest[i]!;
  }
  return likeliest[kept - 1]!; // rounding
}
