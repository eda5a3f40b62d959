/**
 * The public ledger of work: every so many steps a round is closed, and what each miner did in it is written with the step,
 * in the same group of the log. Everything that is paid follows from these lines.
 */
import type { Effect } from '@starling/coordinator';
import type { AuditEntry, MinerWork, RoundWork, Work } from '@starling/protocol';
import type { Row, Store } from '@starling/store';
import { newest, type Receipt } from './records.ts';

export interface RoundParts {
  /** Steps in a round. */
  steps: number;
  /** Rounds for which work is held. */
  hold: number;
  /** FLOPs of a lease. */
  flopsOf(work: Work): number;
  /** Who a miner says it is; null: of one that nobody remembers. */
  factsOf(minerId: string): { name: string; device?: string } | null;
}

/** What is known of a round that is not over. */
export interface OpenRound {
  round: number;
  flops: Map<string, number>;
  /** Miners that an audit found false. */
  convicted: Set<string>;
}

/** Receipts read at a time. */
const PAGE = 1_000;

export class Rounds {
  readonly steps: number;
  private readonly parts: RoundParts;
  private open: OpenRound;

  constructor(parts: RoundParts, open: OpenRound) {
    this.steps = parts.steps;
    this.parts = parts;
    this.open = open;
  }

  /** To be told every effect once, in the order of the log. Gives the round that an effect closes. */
  take(effect: Effect, at: number): RoundWork | null {
    if (effect.type === 'settled') add(this.open.flops, effect.minerId, this.parts.flopsOf(effect.work));
    if (effect.type === 'convicted') this.open.convicted.add(effect.minerId);
    if (effect.type !== 'closed' || (effect.step + 1) % this.steps !== 0) return null;
    const { round, flops, convicted } = this.open;
    this.open = { round: round + 1, flops: new Map(), convicted: new Set() };
    const miners = [...flops].map(([minerId, done]): MinerWork => {
      const facts = this.parts.factsOf(minerId);
      return { minerId, name: facts?.name ?? minerId, device: facts?.device ?? null, flops: done };
    });
    return { round, step: effect.step + 1, time: at, miners, hold: this.parts.hold, convicted: [...convicted] };
  }
}

export const roundRow = (round: RoundWork): Row => ({ kind: 'round', owner: '', at: round.time, body: JSON.stringify(round) });

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

/** The round that was under way when the newest line of the log was written: the receipts since the newest round. */
export async function openRound(store: Pick<Store, 'rows'>, flopsOf: RoundParts['flopsOf']): Promise<OpenRound> {
  const [last] = await store.rows('round', { limit: 1 });
  const flops = new Map<string, number>();
  const convicted = await convictedSince(store, last?.id ?? 0);
  for (let before: number | undefined; ; ) {
    const rows = await store.rows('receipt', { limit: PAGE, ...(before !== undefined && { before }) });
    for (const { id, owner, body } of rows) {
      if (last && id < last.id) return { round: roundOf(last) + 1, flops, convicted };
      const { outcome, work, error } = JSON.parse(body) as Receipt;
      if (outcome === 'lost' && error?.code === 'REDUCTION_FALSE') convicted.add(owner);
      if (work && (outcome === 'counted' || outcome === 'surplus')) add(flops, owner, flopsOf(work));
    }
    if (rows.length < PAGE) return { round: last ? roundOf(last) + 1 : 1, flops, convicted };
    before = rows.at(-1)!.id;
  }
}

async function convictedSince(store: Pick<Store, 'rows'>, id: number): Promise<Set<string>> {
  const convicted = new Set<string>();
  for (let before: number | undefined; ; ) {
    const rows = await store.rows('audit', { limit: PAGE, ...(before !== undefined && { before }) });
    for (const row of rows) {
      if (row.id < id) return convicted;
      if ((JSON.parse(row.body) as AuditEntry).verdict.outcome === 'failed') convicted.add(row.owner);
    }
    if (rows.length < PAGE) return convicted;
    before = rows.at(-1)!.id;
  }
}

const roundOf = ({ body }: { body: string }) => (JSON.parse(body) as RoundWork).round;

function add(flops: Map<string, number>, minerId: string, more: number): void {
  flops.set(minerId, (flops.get(minerId) ?? 0) + more);
}
