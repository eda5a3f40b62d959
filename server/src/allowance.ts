/** What each of many may do a few times at once, and then once in a while. */
export class Allowance {
  private readonly burst: number;
  private readonly everyMs: number;
  /** Until when each has used up its right. Those that have not are not in it. */
  private readonly spent = new Map<string, number>();

  constructor(burst: number, everyMs: number) {
    this.burst = burst;
    this.everyMs = everyMs;
  }

  /** Whether it may, at `now` in ms. */
  has(who: string, now: number): boolean {
    return (this.spent.get(who) ?? now) - now <= (this.burst - 1) * this.everyMs;
  }

  /** It did. */
  use(who: string, now: number): void {
    const until = Math.max(now, this.spent.get(who) ?? now) + this.everyMs;
    for (const [one, at] of this.spent) if (at <= now) this.spent.delete(one);
    this.spent.set(who, until);
  }
}
