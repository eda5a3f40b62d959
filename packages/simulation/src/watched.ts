/** The coordinator, looked at after every input: its own invariants, and books kept beside its own. */
import { brokenInvariant, type Coordinator, type Effect, type Input } from '@starling/coordinator';
import type { World } from './world.ts';

interface Book {
  receipts: number;
  surplus: number;
}

export class Watched {
  readonly inner: Coordinator;
  private readonly world: World;
  /** What each miner was credited with since this was read from its log. */
  private readonly books = new Map<string, Book>();

  constructor(inner: Coordinator, world: World) {
    this.inner = inner;
    this.world = world;
    for (const [minerId, { receipts, surplus }] of inner.state.credits) this.books.set(minerId, { receipts, surplus });
  }

  get now(): number {
    return this.inner.now;
  }

  handle(input: Input, now: number): Effect[] {
    const effects = this.inner.handle(input, now);
    this.world.stats.inputs += 1;
    if (!this.world.options.check) return effects;
    const problem = brokenInvariant(this.inner) ?? this.miscredited(effects) ?? (input.type === 'tick' ? this.leftInTheDark() : null);
    if (problem) this.world.fail(`after ${JSON.stringify(input)}: ${problem}`);
    return effects;
  }

  snapshot(): unknown {
    return this.inner.snapshot();
  }

  /** No credit without a receipt that was taken, and no receipt without its credit. */
  private miscredited(effects: readonly Effect[]): string | null {
    for (const effect of effects) {
      if (effect.type !== 'settled') continue;
      const book = this.books.get(effect.minerId) ?? { receipts: 0, surplus: 0 };
      this.books.set(effect.minerId, book);
      book[effect.outcome === 'counted' ? 'receipts' : 'surplus'] += 1;
    }
    for (const [minerId, { receipts, surplus }] of this.books) {
      const credit = this.inner.credit(minerId);
      if (credit?.receipts !== receipts || credit.surplus !== surplus)
        return `${minerId} has credit ${JSON.stringify(credit)} for ${receipts} receipts and ${surplus} surplus`;
    }
    return null;
  }

  /** Whoever is here and has nothing to do has been told why, and since when. */
  private leftInTheDark(): string | null {
    for (const { id, connected, leases, waiting } of this.inner.state.miners.values()) {
      if (connected && leases.size === 0 && !waiting?.message) return `${id} has nothing to do and is not told why`;
    }
    return null;
  }
}
