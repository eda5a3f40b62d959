/**
 * Server → spectator (namespace `/watch`): a snapshot, and from then on at most four updates a second with what has changed. An update
 * follows from the one before: who has missed some is sent them, or else a new snapshot.
 */
import type { AuditOutcome } from './audit.ts';
import type { LeaseKind } from './messages.ts';
import type { MinerView, RunEvent, RunSnapshot, StageView, StepPoint } from './run.ts';

/** Something that happened, for whoever draws it. */
export type Move =
  /** A miner's receipt counted. */
  | { kind: LeaseKind; minerId: string }
  /** A stage has merged a step. */
  | { kind: 'merge'; stage: number }
  | { kind: 'audit'; minerId: string; outcome: AuditOutcome };

/** What a spectator had last, so that only what is new need be sent. */
export interface WatchAuth {
  /** Of the snapshot. */
  feed: string;
  sequence: number;
}

export interface WatchSnapshot {
  /** Names the server's process: sequences of another one mean nothing. */
  feed: string;
  sequence: number;
  run: RunSnapshot;
  points: StepPoint[];
  events: RunEvent[];
}

/** Fields that changed. */
export interface RunDelta {
  run?: Partial<Omit<RunSnapshot, 'config' | 'stages'>>;
  /** By index. */
  stages?: Record<number, Partial<Omit<StageView, 'miners'>>>;
  /** Miners that are new, with all fields, and those that changed. */
  miners?: (Partial<MinerView> & { id: string })[];
  /** Of each stage whose miners are others now, or in another order: their ids. */
  crews?: Record<number, string[]>;
}

export interface WatchUpdate extends RunDelta {
  sequence: number;
  points?: StepPoint[];
  events?: RunEvent[];
  moves?: Move[];
}

export interface ServerToSpectator {
  snapshot: (message: WatchSnapshot) => void;
  update: (message: WatchUpdate) => void;
}

type Fields = Record<string, unknown>;

/** Plain data, so its text says whether it is the same. */
const same = (a: unknown, b: unknown) => a === b || (typeof a === 'object' && JSON.stringify(a) === JSON.stringify(b));

/** The fields of `after` that are others in `before`; null when there are none. */
function changed<T extends object>(before: T, after: T, without: readonly string[]): Partial<T> | null {
  const fields: Fields = {};
  for (const [key, value] of Object.entries(after)) {
    if (!without.includes(key) && !same((before as Fields)[key], value)) fields[key] = value;
  }
  return Object.keys(fields).length > 0 ? (fields as Partial<T>) : null;
}

/** What makes `after` of `before`, which are of one run and have its stages. */
export function deltaOf(before: RunSnapshot, after: RunSnapshot): RunDelta {
  const delta: RunDelta = {};
  const run = changed(before, after, ['config', 'stages']);
  if (run) delta.run = run;
  const known = new Map(before.stages.flatMap(({ miners }) => miners).map((miner) => [miner.id, miner]));
  const miners: RunDelta['miners'] = [];
  after.stages.forEach((stage, index) => {
    const old = before.stages[index]!;
    const fields = changed(old, stage, ['miners']);
    if (fields) delta.stages = { ...delta.stages, [index]: fields };
    const ids = stage.miners.map(({ id }) => id);
    if (ids.join() !== old.miners.map(({ id }) => id).join()) delta.crews = { ...delta.crews, [index]: ids };
    for (const miner of stage.miners) {
      const of = known.get(miner.id);
      const news = of ? changed(of, miner, ['id']) : miner;
      if (news) miners.push({ ...news, id: miner.id });
    }
  });
  if (miners.length > 0) delta.miners = miners;
  return delta;
}

/** The run after an update. What did not change is the same object. */
export function withDelta(before: RunSnapshot, { run, stages, miners, crews }: RunDelta): RunSnapshot {
  if (!run && !stages && !miners && !crews) return before;
  const news = new Map(miners?.map((miner) => [miner.id, miner]));
  const known = new Map(before.stages.flatMap((stage) => stage.miners).map((miner) => [miner.id, miner]));
  const after = before.stages.map((stage, index): StageView => {
    const crew = crews?.[index];
    const touched = crew ?? stage.miners.some(({ id }) => news.has(id));
    if (!stages?.[index] && !touched) return stage;
    const ids = crew ?? stage.miners.map(({ id }) => id);
    const members = touched
      ? ids.map((id): MinerView => {
          const fields = news.get(id);
          return fields ? ({ ...known.get(id), ...fields } as MinerView) : known.get(id)!;
        })
      : stage.miners;
    return { ...stage, ...stages?.[index], miners: members };
  });
  return { ...before, ...run, stages: after };
}
