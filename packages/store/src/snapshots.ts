import { createHash } from 'node:crypto';
import type { Snapshot } from './store.ts';

/** Whether the snapshot's hash fits its state. */
export function isWhole({ hash, state }: Snapshot): boolean {
  return createHash('sha256').update(state).digest('hex') === hash;
}
