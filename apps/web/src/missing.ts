/** Code that only those load who need it, and a tab that is older than the server finds no more. */
import { SwarmError } from '@starling/protocol';

/** It could not be loaded: nothing is wrong with the page, nor with what was asked of it. */
export class Missing extends SwarmError {
  constructor(cause: unknown) {
    super('HTTP_FAILED', 'The server is away, or was renewed since this tab was opened.', { cause });
  }
  override get hint() {
    return 'When the server answers, load the page anew: a miner in this tab goes on by itself.';
  }
}

/** What `load` imports. Throws `Missing`. */
export const loaded = <T>(load: () => Promise<T>): Promise<T> =>
  load().catch((cause: unknown) => {
    throw new Missing(cause);
  });
