/** What spectators are sent: what changed since the update before, numbered, and the last updates again for who was away. */
import { randomUUID } from 'node:crypto';
import { deltaOf, type RunSnapshot, type WatchAuth, type WatchSnapshot, type WatchUpdate } from '@starling/protocol';
import type { RunView } from './view.ts';

/** Kept for who was away: a minute of them. */
const UPDATES_KEPT = 240;

export class Feed {
  /** Of this process. */
  readonly name = randomUUID();
  private readonly view: RunView;
  private sequence = 0;
  private shown: RunSnapshot;
  private appended: { points: number; events: number };
  private readonly updates: WatchUpdate[] = [];

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
    const delta = deltaOf(this.shown, run);
    this.shown = run;
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
