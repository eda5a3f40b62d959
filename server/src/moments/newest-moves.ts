import type { Moment, Move } from '@starling/protocol';

/** A picture shows no more receipts at once. */
const RECEIPTS = 240;

/** What moved last of each kind: all that a picture can tell apart of any number of entries, and small however many there were. */
export class NewestMoves {
  private readonly receipts: Moment['moves'] = [];
  private readonly merges = new Map<number, Moment['moves'][number]>();
  private readonly audits = new Map<string, Moment['moves'][number]>();

  /** By ascending entries. */
  add(move: Move, seq: number): void {
    const told = { ...move, seq };
    if (move.kind === 'merge') this.merges.set(move.stage, told);
    else if (move.kind === 'audit') this.audits.set(move.minerId, told);
    else if (this.receipts.push(told) > RECEIPTS) this.receipts.shift();
  }

  /** By ascending entries; of miners only those that are `here`. */
  among(here: ReadonlySet<string>): Moment['moves'] {
    return [...this.receipts, ...this.merges.values(), ...this.audits.values()]
      .filter((move) => move.kind === 'merge' || here.has(move.minerId))
      .sort((a, b) => a.seq - b.seq);
  }
}
