/**
 * What subnet 9 was set to on 2026-05-03, and subtensor's defaults for what it leaves alone (pallets/subtensor/src/lib.rs,
 * runtime/src/lib.rs, spec 425).
 */
import type { DevConfig } from './config.ts';

const TAO = 1_000_000_000n;

export const DEFAULTS_OF_SUBNET_9: Omit<DevConfig, 'name' | 'owner'> = {
  netuid: 9,
  blockMs: 12_000,
  endowments: [],
  blockEmission: TAO,
  ownerCut: 11_796,
  delegateTake: 11_796,
  tempo: 360,
  maxUids: 256,
  maxValidators: 64,
  minAllowedWeights: 1,
  maxWeightLimit: 65_535,
  weightsRateLimit: 100,
  weightsVersion: 0,
  revealPeriod: null,
  immunityPeriod: 5_000,
  minNonImmune: 10,
  activityCutoffFactor: 13_889,
  stakeThreshold: 0n,
  kappa: 32_767,
  bondsPenalty: 65_535,
  bondsMovingAverage: 900_000,
  yuma3: false,
  liquidAlpha: null,
  burn: { start: TAO, min: 500_000n, max: 100n * TAO, halfLife: 360, increase: 1.26 },
};
