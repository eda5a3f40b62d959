/** What spectators are sent: what changed since the update before, numbered, and the last updates again for who was away. */
import { randomUUID } from 'node:crypto';
import {
  deltaOf,
  type RunDelta,
  type RunSnapshot,
  type WatchAuth,
  type WatchSnapshot,
  type WatchUpdate,
  withDelta,
} from '@starling/protocol';
import type { RunView } from './view.ts';

/** Kept for who was away: a minute of them. */
const UPDATES_KEPT = 240;
/** Known miners whose changes are in one update, at most: of a large swarm the others' come with the next ones, in turn. */
const MINERS_AT_ONCE = 60;

export class Feed {
  /** Of this process. */
  readonly name = randomUUID();
  private readonly view: RunView;
  private sequence = 0;
  private shown: RunSnapshot;
  private appended: { points: number; events: number };
  private readonly updates: WatchUpdate[] = [];
  /** Number of the update that told of a miner last. */
  private readonly told = new Map<string, number>();

  /** `now`: Unix ms, here as below. */
  constructor(view: RunView, now: number) {
    this.view = view;
    this.shown = view.snapshot(now);
    this.appended = { ...view.appended };
  }

  /** What is new since the last call; null when nothing is. */
  next(now: number): WatchUpdate | null {
    const { view } = this;
    const run = view.snapshot(now);
    const points = newest(view.points, view.appended.points - this.appended.points);
    const events = newest(view.events, view.appended.events - this.appended.events);
    const moves = view.takeMoves();
    const delta = this.inTurn(deltaOf(this.shown, run));
    this.shown = withDelta(this.shown, delta);
    this.appended = { ...view.appended };
    const news = {
      ...delta,
      ...(points.length > 0 && { points }),
      ...(events.length > 0 && { events }),
      ...(moves.length > 0 && { moves }),
    };
    if (Object.keys(news).length === 0) return null;
    this.sequence += 1;
    const update = { sequence: this.sequence, ...news };
    this.updates.push(update);
    if (this.updates.length > UPDATES_KEPT) this.updates.shift();
    return update;
  }

  /** Those that were told of longest ago come first; those that are new all at once, since others refer to them. */
  private inTurn(delta: RunDelta): RunDelta {
    const { miners } = delta;
    if (!miners) return delta;
    const known = new Set(this.shown.stages.flatMap((stage) => stage.miners).map(({ id }) => id));
    const fresh = miners.filter(({ id }) => !known.has(id));
    const changed = miners.filter(({ id }) => known.has(id));
    const last = (id: string) => this.told.get(id) ?? 0;
    const chosen =
      changed.length <= MINERS_AT_ONCE ? changed : changed.toSorted((a, b) => last(a.id) - last(b.id)).slice(0, MINERS_AT_ONCE);
    for (const { id } of chosen) this.told.set(id, this.sequence + 1);
    for (const id of this.told.keys()) if (!known.has(id)) this.told.delete(id);
    return { ...delta, miners: [...fresh, ...chosen] };
  }

  /** As of the last update: the next one follows from it. */
  snapshot(): WatchSnapshot {
    const { view, shown: run, name: feed, sequence } = this;
    const points = view.points.slice(0, view.points.length - (view.appended.points - this.appended.points));
    const events = view.events.slice(0, view.events.length - (view.appended.events - this.appended.events));
    return { feed, sequence, run, points, events };
  }

  /** The updates after what somebody had last; null when only a snapshot will do. */
  since({ feed, sequence }: Partial<WatchAuth>): WatchUpdate[] | null {
    if (feed !== this.name || typeof sequence !== 'number' || sequence > this.sequence) return null;
    if (sequence === this.sequence) return [];
    const first = this.updates.findIndex((update) => update.sequence === sequence + 1);
    return first < 0 ? null : this.updates.slice(first);
  }
}

const newest = <T>(list: readonly T[], count: number): T[] => list.slice(Math.max(0, list.length - count));
