/** What addresses may ask for. */
import { SwarmError } from '@starling/protocol';

/** Entries of a history on one page, at most. */
export const LONGEST_PAGE = 1_000;

/** Throws `BAD_REQUEST`. */
export function wholeNumber(name: string, text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text))
    throw new SwarmError('BAD_REQUEST', `${name} must be a whole number above zero, not "${text.slice(0, 40)}".`);
  return Number(text);
}
