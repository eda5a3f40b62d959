import type { MomentRange } from '@starling/protocol';

/** Where an entry is on a slider of so many places. */
export function placeAt({ first, last }: MomentRange, seq: number, places: number): number {
  return last.seq === first.seq ? places : Math.round(((seq - first.seq) / (last.seq - first.seq)) * places);
}

/** `?at=1234`; null for anything else. */
export function seqIn(search: string): number | null {
  const text = new URLSearchParams(search).get('at');
  return text !== null && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}
