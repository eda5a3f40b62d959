/**
 * For `kill.test.ts`: a process that appends to a store until it is killed, and says which entry is the newest each
 * time a batch is stored. `node kill-writer.ts file|thread|postgres PLACE`.
 */
import { createHash } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { openStore, SqliteStore, type Store } from './index.ts';
import type { Batch, StoredTensor } from './store.ts';

export type Kind = 'file' | 'thread' | 'postgres';
/** Appends under way at once. */
const AHEAD = 3;

export const openKilled = async (kind: Kind, place: string): Promise<Store> =>
  kind === 'file' ? new SqliteStore(place) : openStore(place);

/** The batch that begins with entry `first`: everything about it follows from that number. */
export function batchFrom(first: number): Batch {
  const noise = createHash('sha256').update(String(first)).digest();
  const length = 1 + (noise[0] % 20);
  const entries = Array.from({ length }, (_, k) => ({
    seq: first + k,
    at: first,
    body: JSON.stringify({ first, length, noise: noise.toString('hex') }),
  }));
  const tensors = ['x', 'y'].map((name): StoredTensor => {
    const frame = new Uint8Array(noise[1] * 200).fill(noise[2]);
    return { scope: `batch ${first}`, name, hash: String(first), frame, blob: null };
  });
  const rows = entries.map(({ seq }) => ({ kind: 'entry', owner: `batch ${first}`, at: seq, body: String(seq) }));
  return { entries, rows, tensors, released: [] };
}

async function write(store: Store): Promise<never> {
  let first = (await store.lastSeq()) + 1;
  let scopes = [...new Set((await store.tensors()).map(({ scope }) => scope))];
  process.stdout.write('open\n');
  const underWay: Promise<void>[] = [];
  for (;;) {
    // Only the tensors of the newest batch are ever there.
    const batch = { ...batchFrom(first), released: scopes };
    const last = first + batch.entries.length - 1;
    underWay.push(store.append(batch).then(() => void process.stdout.write(`${last}\n`)));
    if (underWay.length === AHEAD) await underWay.shift();
    scopes = [batch.tensors[0].scope];
    first = last + 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [kind, place] = process.argv.slice(2);
  await write(await openKilled(kind as Kind, place));
}
