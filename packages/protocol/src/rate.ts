/** Rates are over this window: long enough to be calm, short enough to show a change. */
const WINDOW_MS = 30_000;

/** Amounts per second over the last 30 s: what every `tokensPerSecond` of this protocol means. Times are ms of one clock. */
export class Rate {
  private samples: { time: number; amount: number }[] = [];
  private first: number | null = null;

  add(amount: number, now: number): void {
    this.first ??= now;
    this.samples.push({ time: now, amount });
  }

  /** Before 30 s have passed, over the time since the first sample (at least one second). */
  perSecond(now: number): number {
    this.samples = this.samples.filter(({ time }) => time > now - WINDOW_MS);
    if (this.first === null) return 0;
    const span = Math.min(WINDOW_MS, Math.max(1_000, now - this.first));
    return (this.samples.reduce((sum, { amount }) => sum + amount, 0) * 1_000) / span;
  }
}
