/** Addresses of the pages. */
export type Path = '/' | '/dashboard' | '/audits' | '/chain' | '/playground' | `/miner/${string}`;

export type Page = { name: 'mine' | 'dashboard' | 'audits' | 'chain' | 'playground' } | { name: 'miner'; id: string };

export const minerPath = (id: string): Path => `/miner/${encodeURIComponent(id)}`;

/** What lives at an address; whatever is not known is the page where one mines. */
export function pageAt(path: string): Page {
  if (path === '/dashboard') return { name: 'dashboard' };
  if (path === '/audits') return { name: 'audits' };
  if (path === '/chain') return { name: 'chain' };
  if (path === '/playground') return { name: 'playground' };
  const encoded = /^\/miner\/([^/]+)$/.exec(path)?.[1];
  return encoded === undefined ? { name: 'mine' } : { name: 'miner', id: decoded(encoded) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % is part of the name then
  }
}

/** As the server makes them (`m-` and the beginning of a UUID). */
const MINER_ID = /\b(m-[0-9a-f]{8}-[0-9a-f]{4})\b/;

/** A sentence cut at the miners it names: every second piece is an id. */
export const splitAtMiners = (sentence: string): string[] => sentence.split(new RegExp(MINER_ID, 'g'));
