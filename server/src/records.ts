/** What of a run's effects is written for pages: receipts by miner, points of the curves, merges, events. */
import type { Effect, Input, Merge } from '@starling/coordinator';
import {
  type AuditEntry,
  ERROR_HINTS,
  EVENT_KINDS,
  EVENTS_KEPT,
  eventKind,
  type MergeBytes,
  type ReceiptEntry,
  type RunEvent,
  type StepPoint,
  SwarmError,
  thinned,
} from '@starling/protocol';
import type { Handled, Row, Store, StoredRow } from '@starling/store';

/** The lists; their owners are miners (`receipt`, `gradient`, `audit`, `unverified`), stages (`merge`), kinds of an event, or nobody. */
export type RecordKind = 'receipt' | 'gradient' | 'unverified' | 'point' | 'merge' | 'event' | 'round' | 'audit';

export type Receipt = Omit<ReceiptEntry, 'id' | 'time'>;
/** One that was merged. */
export type Gradient = Pick<Extract<Effect, { type: 'included' }>, 'stage' | 'version' | 'microbatches'>;
/** FLOPs that are taken of what is held of the device's, since as much could not be verified. */
export interface Unverified {
  flops: number;
}

export const pointRow = (point: StepPoint): Row => ({ kind: 'point', owner: '', at: point.time, body: JSON.stringify(point) });
export const eventRow = (event: RunEvent): Row => ({
  kind: 'event',
  owner: eventKind(event),
  at: event.time,
  body: JSON.stringify(event),
});

/** What pages are told of an effect of entry `entry`. `point`: of the step that closed last. */
export function eventOf(
  { type: _, merged, ...event }: Extract<Effect, { type: 'event' }>,
  time: number,
  entry: number,
  point: StepPoint | undefined,
): RunEvent {
  if (!merged) return { time, entry, ...event };
  const parts = point?.step === merged.step + 1 ? point.mergeBytes : undefined;
  const sum = (way: keyof MergeBytes) => parts!.reduce((all, part) => all + part[way], 0);
  const bytes = parts && { uploaded: sum('uploaded'), sent: sum('sent') };
  return { time, entry, ...event, merged: { ...merged, ...(bytes && { bytes }) } };
}

/** Rows of what an input did, but for the points: those need more than the effect. */
export function rowsOf({ input, effects, at, seq }: Handled<Input, Effect>, point?: StepPoint): Row[] {
  const rows: Row[] = [];
  if (input.type === 'audited' && effects.every(({ type }) => type !== 'refuse')) rows.push(auditRow(input, at, effects));
  for (const effect of effects) {
    if (effect.type === 'settled') {
      const { minerId, leaseId, outcome, work } = effect;
      rows.push(receiptRow(minerId, at, { leaseId, outcome, work, error: null }));
    } else if (effect.type === 'included') {
      const { minerId, stage, version, microbatches } = effect;
      rows.push({ kind: 'gradient', owner: minerId, at, body: JSON.stringify({ stage, version, microbatches } satisfies Gradient) });
    } else if (effect.type === 'refuse') {
      const { minerId, code, message, leaseId, work } = effect;
      const error = { code, message, hint: ERROR_HINTS[code] };
      rows.push(receiptRow(minerId, at, { leaseId, outcome: 'refused', work, error }));
    } else if (effect.type === 'lapse') {
      const { minerId, code, message, leaseId, work } = effect;
      rows.push(receiptRow(minerId, at, { leaseId, outcome: 'lost', work, error: { code, message, hint: ERROR_HINTS[code] } }));
    } else if (effect.type === 'event') {
      rows.push(eventRow(eventOf(effect, at, seq, point)));
    } else if (effect.type === 'release' && input.type === 'merged') {
      const { type: _, stage, ...merge } = input;
      rows.push({ kind: 'merge', owner: `${stage}`, at, body: JSON.stringify(merge satisfies Merge) });
    }
  }
  return rows;
}

function auditRow(input: Extract<Input, { type: 'audited' }>, at: number, effects: readonly Effect[]): Row {
  const { minerId, stage, version, verdict, validator = null } = input;
  const uncounted = verdict.outcome === 'passed' && validator === null && effects.every(({ type }) => type !== 'passed');
  const entry: Omit<AuditEntry, 'id' | 'time'> = { minerId, stage, version, verdict, validator, ...(uncounted && { uncounted }) };
  return { kind: 'audit', owner: minerId, at, body: JSON.stringify(entry) };
}

/** Audits, the newest first: of all miners, or of one. `before`: only entries older than the one with this id. */
export async function auditsOf(store: Store, limit: number, before?: number, minerId?: string): Promise<AuditEntry[]> {
  const rows = await store.rows('audit', {
    limit,
    ...(minerId !== undefined && { owner: minerId }),
    ...(before !== undefined && { before }),
  });
  return rows.map((row) => ({ id: row.id, time: row.at, ...parse<Omit<AuditEntry, 'id' | 'time'>>(row) }));
}

const receiptRow = (owner: string, at: number, receipt: Receipt): Row => ({ kind: 'receipt', owner, at, body: JSON.stringify(receipt) });

/** A page of a miner's history, the newest first. `before`: only entries older than the one with this id. */
export async function receiptsOf(store: Store, minerId: string, limit: number, before?: number): Promise<ReceiptEntry[]> {
  const rows = await store.rows('receipt', { owner: minerId, limit, ...(before === undefined ? {} : { before }) });
  return rows.map((row) => ({ id: row.id, time: row.at, ...parse<Receipt>(row) }));
}

/** The merges of a stage that made the versions after `version`, ascending. */
export async function mergesAfter(store: Store, stage: number, version: number, upTo: number): Promise<Merge[]> {
  const rows = await store.rows('merge', { owner: `${stage}`, limit: Math.max(1, 2 * (upTo - version)) });
  const merges = new Map<number, Merge>();
  // A log that was begun anew at an older checkpoint made some versions twice: the newest counts.
  for (const row of rows.reverse()) {
    const merge = parse<Merge>(row);
    if (merge.version > version && merge.version <= upTo) merges.set(merge.version, merge);
  }
  return [...merges.values()].sort((a, b) => a.version - b.version);
}

/** The newest of a list, oldest first. */
export async function newest<T>(store: Pick<Store, 'rows'>, kind: RecordKind, limit: number): Promise<T[]> {
  return (await store.rows(kind, { limit })).reverse().map((row) => parse<T>(row));
}

/** The id after all rows of a list that were written by `at`. */
async function idAfter(store: Pick<Store, 'rows'>, kind: RecordKind, at: number): Promise<number> {
  // Ids ascend with time: the first that is too young is found by halving, however long the list is.
  const [last] = await store.rows(kind, { limit: 1 });
  let [low, high] = [1, (last?.id ?? 0) + 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [row] = await store.rows(kind, { before: middle + 1, limit: 1 });
    if (row && row.at > at) high = Math.min(middle, row.id);
    else low = middle + 1;
  }
  return low;
}

/** The newest events of each kind that were written by `at`, oldest first. Older releases gave them no kind. */
export async function eventsBy(store: Pick<Store, 'rows'>, at: number): Promise<RunEvent[]> {
  const before = await idAfter(store, 'event', at);
  const byKind = await Promise.all(['', ...EVENT_KINDS].map((owner) => store.rows('event', { owner, before, limit: EVENTS_KEPT })));
  return byKind
    .flat()
    .sort((a, b) => a.id - b.id)
    .map((row) => parse<RunEvent>(row));
}

/** Rows read at once. */
const PAGE = 5_000;

/** The whole curve as it was known at `at`, up to a step, thinned; `older` are points of before the list began. */
export async function curveBy(
  store: Pick<Store, 'rows'>,
  at: number,
  upTo: number,
  older: readonly StepPoint[] = [],
): Promise<StepPoint[]> {
  let points: StepPoint[] = [];
  let before = await idAfter(store, 'point', at);
  for (let page: StoredRow[] = []; ; before = page.at(-1)!.id) {
    page = await store.rows('point', { before, limit: PAGE });
    points = thinned(curveOf([...page.toReversed().map((row) => parse<StepPoint>(row)), ...points], upTo));
    if (page.length < PAGE) return thinned(curveOf([...older, ...points], upTo));
  }
}

/** By step, up to this one. A log that was begun anew has some steps twice, and some that are undone: the newest count. */
function curveOf(points: Iterable<StepPoint>, upTo: number): StepPoint[] {
  const byStep = new Map<number, StepPoint>();
  for (const point of points) byStep.set(point.step, point);
  return [...byStep.values()].filter(({ step }) => step <= upTo).sort((a, b) => a.step - b.step);
}

function parse<T>({ kind, id, body }: StoredRow): T {
  try {
    return JSON.parse(body) as T;
  } catch (error) {
    throw new SwarmError('LOG_UNREADABLE', `Row ${id} of ${kind} is damaged.`, { cause: error });
  }
}
