/**
 * Two files run at once, on what may be two cores. Who only has to be seen at work, for as long as it takes, computes for this share of
 * the time: on the smallest model, that is a few microbatches a second.
 */
export const INTENSITY = 0.1;
/** The same, in a page's address. */
export const CALM = `intensity=${INTENSITY}`;
