/** After each lease a miner rests, so that it computes for a share of the time only. */
export const LEAST_INTENSITY = 0.05;
/** The leases it has already go on towards their deadlines meanwhile, and must not run out. */
export const LONGEST_REST_MS = 10_000;

export interface Rest {
  ms: number;
  /** Why, and the share of the time that is really computed where the longest rest is too short for the one that was asked for. */
  message: string;
}

/** After a lease that took so long; `intensity`: the share asked for, above 0 to 1. Null: none. */
export function restAfter(tookMs: number, intensity: number): Rest | null {
  if (intensity >= 1) return null;
  const wanted = tookMs * (1 / intensity - 1);
  const ms = Math.min(LONGEST_REST_MS, wanted);
  const asked = `it is to compute ${percent(intensity)} of the time`;
  const reached = percent(tookMs / (tookMs + ms));
  if (wanted <= LONGEST_REST_MS || reached === percent(intensity)) return { ms, message: `Rests after a microbatch: ${asked}.` };
  const lasted = `a microbatch took ${(tookMs / 1_000).toFixed(1)} s`;
  return {
    ms,
    message: `Rests for ${LONGEST_REST_MS / 1_000} s, the longest there is: ${asked}, but ${lasted}, which makes it ${reached}.`,
  };
}

const percent = (share: number) => `${Math.round(100 * share)} %`;
