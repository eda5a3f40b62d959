import type { Moment, MomentRange } from '@starling/protocol';

/** Places on the slider, beside the first: never closer than the entries are, since an arrow key moves by one. */
export const placesIn = ({ first, last }: MomentRange): number => Math.max(1, Math.min(1_000, last.seq - first.seq));

/** Where an entry is on the slider: at an end only the first and the last, so that the keys lead on from any other. */
export function placeAt(range: MomentRange, seq: number): number {
  const { first, last } = range;
  const places = placesIn(range);
  if (seq >= last.seq) return places;
  if (seq <= first.seq) return 0;
  return Math.min(places - 1, Math.max(1, Math.round(((seq - first.seq) / (last.seq - first.seq)) * places)));
}

/** The entry at a place. */
export function seqAt(range: MomentRange, place: number): number {
  const { first, last } = range;
  return first.seq + Math.round((place / placesIn(range)) * (last.seq - first.seq));
}

/** `?at=1234`; null for anything else. */
export function seqIn(search: string): number | null {
  const text = new URLSearchParams(search).get('at');
  return text !== null && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}

/** Between two moments while it plays, in entries: 120 moments lead from one end to the other. */
export const strideIn = ({ first, last }: MomentRange): number => Math.max(1, Math.ceil((last.seq - first.seq) / 120));

/** Entries of which whoever goes back, or jumps to a moment, sees what moved. */
const MOVES_WITHIN = 200;

/** What moves on the way to a moment from the one that was shown before, be it a whole stride; from further away, what led to it. */
export function movesSince({ seq, moves }: Pick<Moment, 'seq' | 'moves'>, before: number, stride: number): Moment['moves'] {
  const goesOn = before < seq && seq - before <= Math.max(stride, MOVES_WITHIN);
  return moves.filter((move) => move.seq > (goesOn ? before : seq - MOVES_WITHIN));
}
