import type { Moment, MomentRange } from '@starling/protocol';

/** Where an entry is on a slider of so many places. */
export function placeAt({ first, last }: MomentRange, seq: number, places: number): number {
  return last.seq === first.seq ? places : Math.round(((seq - first.seq) / (last.seq - first.seq)) * places);
}

/** `?at=1234`; null for anything else. */
export function seqIn(search: string): number | null {
  const text = new URLSearchParams(search).get('at');
  return text !== null && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}

/** What moves on the way to a moment from the one that was shown before: whoever goes back sees what led to it. */
export const movesSince = ({ seq, moves }: Pick<Moment, 'seq' | 'moves'>, before: number): Moment['moves'] =>
  before < seq ? moves.filter((move) => move.seq > before) : moves;
