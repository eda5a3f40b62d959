import { expect, test } from 'vitest';
import { ASKED_FOR, NEWEST, newer, older, PAGE_SIZE, type Place, pageOf } from './paging.ts';

/** What the server answers: the newest entries with an id below `before`. */
const ask = (newest: number, place: Place) => {
  const first = (place.at(-1) ?? newest + 1) - 1;
  return Array.from({ length: Math.max(0, Math.min(ASKED_FOR, first)) }, (_, i) => ({ id: first - i }));
};
const ids = (newest: number, place: Place) => pageOf(ask(newest, place)).entries.map(({ id }) => id);

test('older and older visits every entry once, and newer leads back the same way', () => {
  let place = NEWEST;
  const seen: number[] = [];
  const places = [place];
  for (;;) {
    const page = pageOf(ask(2 * PAGE_SIZE + 3, place));
    seen.push(...page.entries.map(({ id }) => id));
    if (page.next === null) break;
    place = older(place, page);
    places.push(place);
  }
  expect(seen).toEqual(Array.from({ length: 2 * PAGE_SIZE + 3 }, (_, i) => 2 * PAGE_SIZE + 3 - i));
  expect(places).toHaveLength(3);
  expect(newer(place)).toEqual(places[1]);
  expect(newer(newer(place))).toBe(NEWEST);
});

test('an older page stays as it is while newer entries come', () => {
  const place = older(NEWEST, pageOf(ask(100, NEWEST)));
  expect(ids(100, place)).toEqual(ids(500, place));
});

test('a page that is just full has no older one, and older then changes nothing', () => {
  const page = pageOf(ask(PAGE_SIZE, NEWEST));
  expect(page.entries).toHaveLength(PAGE_SIZE);
  expect(page.next).toBeNull();
  expect(older(NEWEST, page)).toBe(NEWEST);
  expect(pageOf([])).toEqual({ entries: [], next: null });
});
