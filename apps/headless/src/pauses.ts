/** Pause before something is opened for the `failures`-th time since it last lived a minute, in milliseconds. */
export const pauseBefore = (failures: number): number => Math.min(1000 * 2 ** (failures - 1), 60_000);

/** What lived this long starts again with the shortest pause. */
export const SETTLED_MS = 60_000;
