/** Yuma Consensus at the size of a full subnet: one epoch must not hold up whoever computes it. */
import { type EpochInput, type EpochParameters, runEpoch, stakeWeight } from '@starling/chain';
import { environment, type Report, type Row } from './report.ts';

const NEURONS = 256;
const WARM_UP = 5;
const EPOCHS = 40;
const TEMPO = 360;
const RAO = 1_000_000_000n;
/** Of an epoch, in ms. */
const LIMIT_MS = 50;

/** Integers below `limit`, the same in every run (Numerical Recipes' generator). */
function generator(): (limit: number) => number {
  let state = 1;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const VARIANTS: Record<string, Pick<EpochParameters, 'yuma3' | 'liquidAlpha'>> = {
  Yuma2: { yuma3: false, liquidAlpha: null },
  Yuma3: { yuma3: true, liquidAlpha: null },
  // What a subnet that switches it on begins with.
  'Yuma3 with liquid alpha': { yuma3: true, liquidAlpha: { low: 45_875, high: 58_982, steepness: 1_000 } },
};

/** All are validators with stake, weigh all, and have bonds on all. */
function subnet(variant: Pick<EpochParameters, 'yuma3' | 'liquidAlpha'>): EpochInput {
  const next = generator();
  const uids = Array.from({ length: NEURONS }, (_, uid) => uid);
  const row = (least: number) => ({ uids, values: uids.map(() => least + next(65_536 - least)) });
  return {
    parameters: {
      tempo: TEMPO,
      activityCutoff: 5_000,
      maxValidators: NEURONS,
      kappa: 32_767,
      bondsPenalty: 65_535,
      bondsMovingAverage: 900_000,
      stakeThreshold: 0n,
      ...variant,
    },
    block: 10_000,
    lastMechanismStep: 10_000 - TEMPO,
    ownerUid: 0,
    emission: BigInt(TEMPO) * RAO,
    neurons: uids.map(() => ({
      registeredAt: 1,
      lastUpdate: 9_900,
      stake: stakeWeight(BigInt(1 + next(1_000_000)) * RAO, 0n, 0n),
      permit: true,
      weights: row(1),
      bonds: row(0),
      committedAt: null,
    })),
  };
}

/** CPU time of one epoch in ms, other programs' left out: what it holds up on a core of its own. */
function cpuMs(input: EpochInput): number {
  for (let i = 0; i < WARM_UP; i++) runEpoch(input);
  const before = process.cpuUsage();
  for (let i = 0; i < EPOCHS; i++) runEpoch(input);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000 / EPOCHS;
}

export async function chain(): Promise<Report> {
  const against = `the limit of ${LIMIT_MS} ms`;
  const rows = Object.entries(VARIANTS).map(([name, variant]): Row => {
    const value = cpuMs(subnet(variant));
    return {
      metric: `${name}, epoch of ${NEURONS} × ${NEURONS}`,
      value,
      unit: 'ms of CPU',
      against,
      ratio: value / LIMIT_MS,
    };
  });
  return { name: 'chain', environment: { ...environment(), epochs: EPOCHS }, rows };
}
