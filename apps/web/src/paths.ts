/** Addresses of the pages. */
export type Path =
  | '/'
  | '/dashboard'
  | '/miners'
  | '/audits'
  | '/chain'
  | '/playground'
  | '/replay'
  | `/replay?at=${number}`
  | `/miner/${string}`
  | `/stage/${number}`;

const PLAIN = ['dashboard', 'miners', 'audits', 'chain', 'playground', 'replay'] as const;
export type Page = { name: 'mine' | 'nowhere' | (typeof PLAIN)[number] } | { name: 'miner'; id: string } | { name: 'stage'; index: number };

export const stagePath = (index: number): Path => `/stage/${index}`;
export const replayPath = (at: number): Path => `/replay?at=${at}`;
export const minerPath = (id: string): Path => `/miner/${encodeURIComponent(id)}`;

/** What lives at an address. */
export function pageAt(path: string): Page {
  if (path === '/') return { name: 'mine' };
  const plain = PLAIN.find((name) => path === `/${name}`);
  if (plain) return { name: plain };
  const stage = /^\/stage\/(\d{1,4})$/.exec(path)?.[1];
  if (stage !== undefined) return { name: 'stage', index: Number(stage) };
  const encoded = /^\/miner\/([^/]+)$/.exec(path)?.[1];
  return encoded === undefined ? { name: 'nowhere' } : { name: 'miner', id: decoded(encoded) };
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
export const minersIn = (sentence: string): string[] => splitAtMiners(sentence).filter((_, i) => i % 2 === 1);
