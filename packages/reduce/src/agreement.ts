/** How often two members' results for the same shard had the same hash. */
export interface Agreement {
  /** Ids, the lower first. */
  pair: [string, string];
  /** Shards both reduced: agreed + disagreed. */
  compared: number;
  agreed: number;
  disagreed: number;
}

/** The counts of every pair that was ever compared. Somebody who lies alone shows as a row of disagreements. */
export class AgreementMatrix {
  private readonly counts = new Map<string, Agreement>();

  constructor(counts: readonly Agreement[] = []) {
    this.add(counts);
  }

  record(a: string, b: string, equal: boolean): void {
    const agreed = equal ? 1 : 0;
    this.add([{ pair: [a, b], compared: 1, agreed, disagreed: 1 - agreed }]);
  }

  /** Adds what another matrix exported: of the next merge, say. */
  add(counts: readonly Agreement[]): void {
    for (const { pair, compared, agreed, disagreed } of counts) {
      const sorted = pair.toSorted() as [string, string];
      const key = JSON.stringify(sorted);
      const known = this.counts.get(key) ?? { pair: sorted, compared: 0, agreed: 0, disagreed: 0 };
      this.counts.set(key, {
        pair: sorted,
        compared: known.compared + compared,
        agreed: known.agreed + agreed,
        disagreed: known.disagreed + disagreed,
      });
    }
  }

  of(a: string, b: string): Readonly<Agreement> | undefined {
    return this.counts.get(JSON.stringify([a, b].toSorted()));
  }

  /** Plain data, in the order of the pairs. */
  export(): Agreement[] {
    return [...this.counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, counts]) => ({ ...counts }));
  }
}
