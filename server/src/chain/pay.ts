/** From receipts to emission: one line for every account, made of what the ledger, the accounts and the chain say. */
import type { EpochPaid, Metagraph } from '@starling/chain';
import type { AccountView, PayView, RoundWork, WeightsView } from '@starling/protocol';
import type { Scores } from '../scores.ts';

/** Rao paid for serving, by hotkey: of all epochs that were seen, and of the last. */
export class Emissions {
  readonly #total = new Map<string, bigint>();
  #last = new Map<string, bigint>();

  add({ neurons }: EpochPaid): void {
    this.#last = new Map(neurons.map(({ hotkey, served }) => [hotkey, served]));
    for (const [hotkey, served] of this.#last) this.#total.set(hotkey, this.totalOf(hotkey) + served);
  }

  totalOf(hotkey: string): bigint {
    return this.#total.get(hotkey) ?? 0n;
  }

  lastOf(hotkey: string): bigint {
    return this.#last.get(hotkey) ?? 0n;
  }
}

/** Whom a device works for, and the address that is its own. */
export interface AccountNames {
  addressOf(device: string): string;
  guestAddress(device: string): string;
}

/** Scores by account: what a validator's weights are linear in. */
export function scoresByAddress(scores: Scores, { addressOf }: AccountNames): Map<string, number> {
  const byAddress = new Map<string, number>();
  for (const [device, { score }] of scores) {
    const address = addressOf(device);
    if (score > 0) byAddress.set(address, (byAddress.get(address) ?? 0) + score);
  }
  return byAddress;
}

/** What an account did that does not count yet, and the step after which all of it does. */
export function heldOf(held: readonly RoundWork[], { addressOf }: AccountNames, address: string, roundSteps: number): AccountView['held'] {
  const own = held
    .map(({ miners, step, hold }) => ({
      work: miners.filter(({ device }) => device !== null && addressOf(device) === address).reduce((all, { flops }) => all + flops, 0),
      step: step + hold * roundSteps,
    }))
    .filter(({ work }) => work > 0);
  const last = own.at(-1);
  return last ? { work: own.reduce((all, { work }) => all + work, 0), step: last.step } : null;
}

/** Who worked, the highest score first. What a device earned as a guest stays with it when it gets a hotkey. */
export function payOf(
  scores: Scores,
  names: AccountNames,
  graph: Metagraph | null,
  weights: WeightsView | null,
  emissions: Emissions,
): PayView[] {
  const byHotkey = new Map(graph?.neurons.map((neuron) => [neuron.hotkey, neuron]));
  const weightOf = new Map(weights?.weights.map(({ hotkey, weight }) => [hotkey, weight]));
  const accounts = new Map<string, { devices: string[]; guest: boolean }>();
  for (const device of scores.keys()) {
    const address = names.addressOf(device);
    const account = accounts.get(address) ?? { devices: [], guest: address === names.guestAddress(device) };
    account.devices.push(device);
    accounts.set(address, account);
  }
  const lines = [...accounts].map(([address, { devices, guest }]): PayView => {
    const parts = devices.map((device) => scores.get(device)!);
    const sum = (of: (part: (typeof parts)[number]) => number) => parts.reduce((all, part) => all + of(part), 0);
    const paidTo = [...new Set([address, ...devices.map((device) => names.guestAddress(device))])];
    const rao = (of: (hotkey: string) => bigint) => String(paidTo.reduce((all, hotkey) => all + of(hotkey), 0n));
    const neuron = byHotkey.get(address);
    return {
      address,
      names: [...new Set(parts.flatMap(({ names: given }) => given))].slice(0, 5),
      devices,
      guest,
      uid: neuron?.uid ?? null,
      roundWork: sum(({ roundWork }) => roundWork),
      work: sum(({ work }) => work),
      score: sum(({ score }) => score),
      weight: weightOf.get(address) ?? null,
      incentive: neuron?.incentive ?? 0,
      lastEmission: rao((hotkey) => emissions.lastOf(hotkey)),
      emission: rao((hotkey) => emissions.totalOf(hotkey)),
    };
  });
  return lines.sort((a, b) => b.score - a.score || b.work - a.work);
}

/** Fewer points lie on a line by themselves. */
const LEAST_ACCOUNTS = 3;

/** Half-lives until a newcomer's score is 15/16 of what its work comes to: before that it is paid less, for want of a past. */
export const SETTLED_HALF_LIVES = 4;

/** From when on emission is held against work. */
export interface Since {
  /** Ms on the chain's clock of the epoch in which the newest of the accounts was paid first. */
  newest: number;
  /** What each had done and was paid then, or when its score had settled. */
  accounts: ReadonlyMap<string, { work: number; emission: number }>;
  /** It is as long ago as scores took to settle. Of less, what is paid is mostly for what was done before. */
  isLong: boolean;
}

export const NOT_SINCE: Since = { newest: 0, accounts: new Map(), isLong: false };

/**
 * After an epoch at `at`, ms on the chain's clock. Who is paid in it and was not yet begins `since` anew, for so long as scores take to settle, in ms: an
 * epoch pays as much to few as to many, and by what was done in half-lives of before it.
 */
export function sinceSettled(pay: readonly PayView[], { newest, accounts }: Since, at: number, settling: number): Since {
  const isKnown = pay.every(({ address, lastEmission }) => lastEmission === '0' || accounts.has(address));
  if (isKnown && at >= newest + settling) return { newest, accounts, isLong: at >= newest + 2 * settling };
  const now = pay
    .filter(({ address, lastEmission }) => lastEmission !== '0' || accounts.has(address))
    .map(({ address, work, emission }) => [address, { work, emission: Number(emission) }] as const);
  return { newest: isKnown ? newest : at, accounts: new Map(now), isLong: false };
}

/**
 * Pearson's correlation of emission with work over the accounts that were paid when `since` began; null where that is not long ago, for fewer than
 * three that did something or were paid since, or when all are equal.
 */
export function correlationOf(pay: readonly PayView[], { accounts, isLong }: Since): number | null {
  if (!isLong) return null;
  const points = pay.flatMap(({ address, work, emission }) => {
    const before = accounts.get(address);
    const [did, got] = before ? [work - before.work, Number(emission) - before.emission] : [0, 0];
    return did > 0 || got > 0 ? [[did, got] as const] : [];
  });
  if (points.length < LEAST_ACCOUNTS) return null;
  const mean = (at: 0 | 1) => points.reduce((all, point) => all + point[at], 0) / points.length;
  const [workMean, emissionMean] = [mean(0), mean(1)];
  let [both, workSquares, emissionSquares] = [0, 0, 0];
  for (const [work, emission] of points) {
    both += (work - workMean) * (emission - emissionMean);
    workSquares += (work - workMean) ** 2;
    emissionSquares += (emission - emissionMean) ** 2;
  }
  return workSquares > 0 && emissionSquares > 0 ? both / Math.sqrt(workSquares * emissionSquares) : null;
}
