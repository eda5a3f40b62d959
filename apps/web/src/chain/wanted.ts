/** What somebody looks for among miners and accounts. */
export interface Wanted {
  /** Null: it is none. */
  uid: number | null;
  /** Part of a name or an address, in lower case; null where nothing but a UID is meant. */
  text: string | null;
}

/** `UID 3` is a UID and nothing else; `3` may be part of a name as well. */
export function wanted(query: string): Wanted {
  const text = query.trim().toLowerCase();
  const [, word, digits] = /^(uid\W*)?(\d{1,5})$/.exec(text) ?? [];
  return { uid: digits === undefined ? null : Number(digits), text: word === undefined ? text : null };
}

/** Whether this account is meant: by its UID, by either end of its address, or by both as pages shorten it (`5DoP…pbS`). */
export function isWanted({ uid, address }: { uid: number | null; address: string }, { uid: meant, text }: Wanted): boolean {
  if (meant !== null) return uid === meant;
  const known = address.toLowerCase();
  if (text === null || text === '') return false;
  const [start, end] = text.split('…') as [string, string?];
  return end === undefined ? known.startsWith(text) || known.endsWith(text) : known.startsWith(start) && known.endsWith(end);
}
