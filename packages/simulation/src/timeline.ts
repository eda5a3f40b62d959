/** Virtual time: what is to happen, in order. */
import { Heap } from '@starling/coordinator/heap';

interface Happening {
  order: number;
  run: () => void;
}

export class Timeline {
  /** Virtual ms. */
  now = 0;
  private count = 0;
  private readonly ahead = new Heap<Happening>(({ order }) => order);

  later(delay: number, run: () => void): void {
    this.ahead.set({ order: this.count++, run }, this.now + delay);
  }

  after(delay: number): Promise<void> {
    return new Promise((resolve) => this.later(delay, resolve));
  }

  /** Goes on to the next thing and does it; false when there is none. */
  step(): boolean {
    const next = this.ahead.first();
    if (!next) return false;
    this.now = Math.max(this.now, this.ahead.keyOf(next)!);
    this.ahead.delete(next);
    next.run();
    return true;
  }
}
