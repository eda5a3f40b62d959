/** What audits that are under way may take of devices for what they cannot verify: all together never more than there is. */

/** What one audit may take. */
export interface Claim {
  owner: string;
  /** FLOPs that it looks at. */
  work: number;
  /** The chance with which it was drawn. */
  rate: number;
  /** FLOPs that it takes for each that it cannot verify. */
  times: number;
}

export class Claims {
  private open: Claim[] = [];

  /**
   * A miner's step was drawn, or was not: then null. `held`: FLOPs that its device would lose beside it; `work` is at most the share `rate` of
   * both.
   *
   * Who is looked at in one of 1 / rate steps pays for all of them then: 1 / rate times what cannot be verified, which may be the whole
   * stake. So if this is drawn, what earlier draws may take is cut to what it leaves; and if it is not, that is raised by so much that what is
   * to be expected of them stays the same.
   */
  add({ held, ...of }: Omit<Claim, 'times'> & { held: number }, isDrawn: boolean): Claim | null {
    const { owner, work, rate } = of;
    const earlier = this.open.filter((claim) => claim.owner === owner);
    const claimed = earlier.reduce((sum, claim) => sum + claim.work * claim.times, 0);
    // Backwards are claimed when they are drawn, and held only when they are merged.
    const left = Math.max(held, claimed) + work - work / rate;
    const cut = claimed > 0 ? Math.max(0, Math.min(1, left / claimed)) : 1;
    for (const claim of earlier) claim.times *= isDrawn ? cut : (1 - rate * cut) / (1 - rate);
    if (!isDrawn) return null;
    const claim = { ...of, times: 1 / rate };
    this.open.push(claim);
    return claim;
  }

  /** Its verdict has come, or none will. */
  close(claim: Claim): void {
    this.open = this.open.filter((other) => other !== claim);
  }
}
