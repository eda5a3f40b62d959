import type { MinerView } from '@starling/protocol';

/** Miners of a stage on the dashboard, at most: each is a dozen elements that may change four times a second. */
const DRAWN = 30;

/** Those that are drawn, this tab's among them. */
export function drawnOf(miners: readonly MinerView[], own: string | null): readonly MinerView[] {
  const first = miners.slice(0, DRAWN);
  const hidden = miners.slice(DRAWN).find(({ id }) => id === own);
  return hidden ? [hidden, ...first.slice(1)] : first;
}
