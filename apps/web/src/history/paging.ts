/**
 * Where one is in a history that grows at its newest end. One page is shown at a time; every page but the newest is of
 * entries older than a fixed one, so that nothing moves under the reader and nothing piles up.
 */

export const PAGE_SIZE = 20;
/** One more than is shown: whether there is an older page. */
export const ASKED_FOR = PAGE_SIZE + 1;

/** The entries before which each page begins, from the second page to the present one; empty on the newest. */
export type Place = readonly number[];

export const NEWEST: Place = [];

export interface Page<T> {
  /** The newest first. */
  entries: T[];
  /** Where the older page begins; null on the oldest. */
  next: number | null;
}

export function pageOf<T extends { id: number }>(answer: readonly T[]): Page<T> {
  const entries = answer.slice(0, PAGE_SIZE);
  return { entries, next: answer.length > PAGE_SIZE ? entries.at(-1)!.id : null };
}

export const older = (place: Place, { next }: Pick<Page<unknown>, 'next'>): Place => (next === null ? place : [...place, next]);

export const newer = (place: Place): Place => (place.length > 1 ? place.slice(0, -1) : NEWEST);
