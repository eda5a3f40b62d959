/** As `GET /v1/runs/:id/agreement` says it. */
export interface Agreement {
  pair: [string, string];
  compared: number;
  agreed: number;
  disagreed: number;
}

/** All miners in these pairs, whoever disagreed most first. */
export function byDisagreement(pairs: readonly Agreement[]): string[] {
  const sums = new Map<string, number>();
  for (const { pair, disagreed } of pairs) for (const id of pair) sums.set(id, (sums.get(id) ?? 0) + disagreed);
  return [...sums].sort(([, a], [, b]) => b - a).map(([id]) => id);
}
