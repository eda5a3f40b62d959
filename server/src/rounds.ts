/**
 * The public ledger of work: every so many steps a round is closed, and what each miner did in it is written with the step,
 * in the same group of the log. Everything that is paid follows from these lines.
 */
import { type Effect, timesOf } from '@starling/coordinator';
import { type AuditEntry, LEASE_KINDS, type MinerWork, type RoundWork, type Work } from '@starling/protocol';
import type { Row, Store, StoredRow } from '@starling/store';
import { type Gradient, newest, type Receipt, type RecordKind, type Unverified } from './records.ts';
import { NO_TALLY, type Tally, tallyAfter } from './scores.ts';

export interface RoundParts {
  /** Steps in a round. */
  steps: number;
  /** Rounds for which work is held. */
  hold: number;
  /** Ms in which what counts is worth half. */
  halfLife: number;
  /** Whether audits are made: then the ledger tells who passed. */
  audited: boolean;
  /** FLOPs of a lease. */
  flopsOf(work: Pick<Work, 'kind' | 'stage'>): number;
  /** Who a miner says it is; null: of one that nobody remembers. */
  factsOf(minerId: string): { name: string; device?: string } | null;
}

/** What is known of a round that is not over. */
export interface OpenRound {
  round: number;
  flops: Map<string, number>;
  /** FLOPs that are to be taken, by miner. */
  unverified: Map<string, number>;
  /** Miners whose work was found to be what they said, and those whose work was found false. */
  passed: Set<string>;
  convicted: Set<string>;
}

const newRound = (round: number): OpenRound => ({
  round,
  flops: new Map(),
  unverified: new Map(),
  passed: new Set(),
  convicted: new Set(),
});

/** Receipts read at a time. */
const PAGE = 1_000;

export class Rounds {
  readonly steps: number;
  private readonly parts: RoundParts;
  private open: OpenRound;
  private tally: Tally;

  /** `tally`: of all rounds before the open one. */
  constructor(parts: RoundParts, open: OpenRound, tally: Tally = NO_TALLY) {
    this.steps = parts.steps;
    this.parts = parts;
    this.open = open;
    this.tally = tally;
  }

  /**
   * FLOPs that a device (a miner that has none) would lose if it were found false before the next round is closed, less those that this will
   * set free: an audit may take as long. Of devices alone whose work counts.
   */
  stakes(): Map<string, number> {
    const { held, proven, debts } = this.tally;
    const stakes = new Map([...proven].map((owner) => [owner, 0 - (debts.get(owner) ?? 0)]));
    const take = (owner: string, flops: number) => stakes.has(owner) && add(stakes, owner, flops);
    for (const { miners } of held.slice(Math.max(0, held.length + 1 - this.parts.hold)))
      for (const { minerId, device, flops } of miners) take(device ?? minerId, flops);
    for (const [minerId, flops] of this.open.flops) take(this.ownerOf(minerId), flops);
    for (const [minerId, flops] of this.open.unverified) take(this.ownerOf(minerId), -flops);
    return stakes;
  }

  /**
   * Takes what could not be verified, and says how much: FLOPs, whole. What is seen in one of 1 / rate steps only costs 1 / rate times its pay then,
   * as a rule, and so once that may be expected (an estimate without bias: Horvitz and Thompson, 1952). What counts only later is owed until then.
   */
  leaveOut({ minerId, stage, leases, drawn }: Extract<Effect, { type: 'unverified' }>): number {
    const pay = LEASE_KINDS.reduce((sum, kind) => sum + (leases[kind] ?? 0) * this.parts.flopsOf({ kind, stage }), 0);
    const flops = Math.round(pay * (drawn ? timesOf(drawn) : 1));
    add(this.open.unverified, minerId, flops);
    return flops;
  }

  /** To be told every effect once, in the order of the log. Gives the round that an effect closes. */
  take(effect: Effect, at: number): RoundWork | null {
    const { flopsOf, audited, hold, halfLife } = this.parts;
    if (effect.type === 'settled') addReceipt(this.open, effect.minerId, effect, flopsOf);
    if (effect.type === 'included') addGradient(this.open, effect.minerId, effect, flopsOf);
    if (effect.type === 'passed') this.open.passed.add(effect.minerId);
    if (effect.type === 'convicted') this.open.convicted.add(effect.minerId);
    if (effect.type !== 'closed' || (effect.step + 1) % this.steps !== 0) return null;
    const { round, flops, unverified, passed, convicted } = this.open;
    this.open = newRound(round + 1);
    const miners = [...flops].map(([minerId, done]): MinerWork => {
      const facts = this.parts.factsOf(minerId);
      return { minerId, name: facts?.name ?? minerId, device: facts?.device ?? null, flops: done };
    });
    const owed = new Map<string, number>();
    for (const [minerId, taken] of unverified) add(owed, this.ownerOf(minerId), taken);
    const whole: RoundWork = {
      ...{ round, step: effect.step + 1, time: at, miners, hold, halfLife, convicted: this.ownersOf(convicted) },
      ...(owed.size > 0 && { unverified: Object.fromEntries([...owed].sort()) }),
      ...(audited && { passed: this.ownersOf(passed) }),
    };
    this.tally = tallyAfter(this.tally, whole);
    return whole;
  }

  private ownerOf(minerId: string): string {
    return this.parts.factsOf(minerId)?.device ?? minerId;
  }

  /** The same after a restart, which reads them in another order. */
  private ownersOf(minerIds: ReadonlySet<string>): string[] {
    return [...new Set([...minerIds].map((minerId) => this.ownerOf(minerId)))].sort();
  }
}

/** What came when it was not needed is nothing that anybody looks at, and backwards are nothing without their gradient. */
function addReceipt(
  { flops }: OpenRound,
  minerId: string,
  { outcome, work }: Pick<Receipt, 'outcome' | 'work'>,
  flopsOf: RoundParts['flopsOf'],
) {
  if (work && outcome === 'counted' && work.kind !== 'backward') add(flops, minerId, flopsOf(work));
}

function addGradient({ flops }: OpenRound, minerId: string, { stage, microbatches }: Gradient, flopsOf: RoundParts['flopsOf']) {
  add(flops, minerId, microbatches * flopsOf({ kind: 'backward', stage }));
}

export const roundRow = (round: RoundWork): Row => ({ kind: 'round', owner: '', at: round.time, body: JSON.stringify(round) });

export const unverifiedRow = (minerId: string, flops: number, at: number): Row => ({
  kind: 'unverified',
  owner: minerId,
  at,
  body: JSON.stringify({ flops } satisfies Unverified),
});

/** All lines of the ledger, the oldest first. */
export const ledgerOf = (store: Pick<Store, 'rows'>): Promise<RoundWork[]> => newest<RoundWork>(store, 'round', Number.MAX_SAFE_INTEGER);

/** Lines of the ledger after this round, the oldest first. */
export async function ledgerAfter(store: Pick<Store, 'rows'>, round: number, limit: number): Promise<RoundWork[]> {
  const [last] = await store.rows('round', { limit: 1 });
  const since = last ? roundOf(last) - round : 0;
  if (since <= 0) return [];
  const lines = await newest<RoundWork>(store, 'round', since);
  return lines.filter((line) => line.round > round).slice(0, limit);
}

/** The round that was under way when the newest line of the log was written: what came of its miners since the newest round. */
export async function openRound(store: Pick<Store, 'rows'>, flopsOf: RoundParts['flopsOf']): Promise<OpenRound> {
  const [last] = await store.rows('round', { limit: 1 });
  const open = newRound(last ? roundOf(last) + 1 : 1);
  const since = (kind: RecordKind) => rowsSince(store, kind, last?.id ?? 0);
  for await (const { owner, body } of since('receipt')) {
    const receipt = JSON.parse(body) as Receipt;
    addReceipt(open, owner, receipt, flopsOf);
    if (receipt.outcome === 'lost' && receipt.error?.code === 'REDUCTION_FALSE') open.convicted.add(owner);
  }
  for await (const { owner, body } of since('gradient')) addGradient(open, owner, JSON.parse(body) as Gradient, flopsOf);
  for await (const { owner, body } of since('unverified')) add(open.unverified, owner, (JSON.parse(body) as Unverified).flops);
  for await (const { owner, body } of since('audit')) {
    const { validator, verdict, uncounted } = JSON.parse(body) as AuditEntry;
    const { outcome } = verdict;
    if (outcome === 'passed' && validator === null && !uncounted) open.passed.add(owner);
    if (outcome === 'failed') open.convicted.add(owner);
  }
  return open;
}

/** The newest first. */
async function* rowsSince(store: Pick<Store, 'rows'>, kind: RecordKind, id: number): AsyncGenerator<StoredRow> {
  for (let before: number | undefined; ; ) {
    const rows = await store.rows(kind, { limit: PAGE, ...(before !== undefined && { before }) });
    for (const row of rows) {
      if (row.id < id) return;
      yield row;
    }
    if (rows.length < PAGE) return;
    before = rows.at(-1)!.id;
  }
}

const roundOf = ({ body }: { body: string }) => (JSON.parse(body) as RoundWork).round;

function add(flops: Map<string, number>, minerId: string, more: number): void {
  flops.set(minerId, (flops.get(minerId) ?? 0) + more);
}
