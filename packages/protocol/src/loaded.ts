/** Code that only those load who need it, and a tab that is older than the server finds no more. */
import { SwarmError } from './errors.ts';

/** It could not be loaded: nothing is wrong with the device, nor with what was asked of it. */
export const codeMissing = (cause?: unknown): SwarmError =>
  new SwarmError('CODE_MISSING', 'Part of the page could not be loaded: the server is away, or was renewed since this tab was opened.', {
    cause,
  });

/** What `load` imports. Throws `CODE_MISSING`. */
export const loaded = <T>(load: () => Promise<T>): Promise<T> =>
  load().catch((cause: unknown) => {
    throw codeMissing(cause);
  });
