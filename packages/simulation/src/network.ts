/**
 * Sockets in virtual time. A connection keeps the order of its messages, as TCP does; loss, duplication and reordering
 * on top of that are worse than TCP allows. A partition holds messages back; if it lasts, both ends notice.
 */
import type { Random } from './random.ts';
import type { Schedule } from './schedule.ts';
import type { Timeline } from './timeline.ts';

/** Socket.IO's default: a silent peer is given up after pingInterval + pingTimeout. */
export const PING_MS = 45_000;

export class Wire {
  open = true;
  private readonly timeline: Timeline;
  private readonly random: Random;
  private readonly schedule: Schedule;
  private readonly count: (fault: keyof Schedule) => void;
  private readonly latency: number;
  /** When the newest message of each direction arrives. */
  private readonly last = { up: 0, down: 0 };
  private cutUntil = 0;
  private readonly ends: Record<'client' | 'server', () => void>;

  constructor(
    world: { timeline: Timeline; random: Random; schedule: Schedule; count: (fault: keyof Schedule) => void },
    latency: number,
    ends: Record<'client' | 'server', () => void>,
  ) {
    this.timeline = world.timeline;
    this.random = world.random;
    this.schedule = world.schedule;
    this.count = world.count;
    this.latency = latency;
    this.ends = ends;
  }

  /** `arrive` runs at the other end, unless the connection is gone by then. */
  send(direction: 'up' | 'down', arrive: () => void): void {
    if (!this.open) return;
    const { random, schedule, timeline } = this;
    if (random.chance(schedule.loss)) {
      this.count('loss');
      return;
    }
    const deliver = () => {
      const earliest = Math.max(timeline.now, this.cutUntil) + this.latency * random.between(0.8, 1.5);
      let at = Math.max(earliest, this.last[direction]);
      if (random.chance(schedule.reordering)) {
        this.count('reordering');
        at = earliest + random.between(0, 20 * this.latency);
      } else {
        this.last[direction] = at;
      }
      timeline.later(at - timeline.now, () => {
        if (this.open) arrive();
      });
    };
    deliver();
    if (random.chance(schedule.duplication)) {
      this.count('duplication');
      deliver();
    }
  }

  /** Nothing gets through for so long; what is sent meanwhile comes afterwards, if the ends have not given up by then. */
  cut(ms: number): void {
    this.cutUntil = this.timeline.now + ms;
    if (ms > PING_MS) this.timeline.later(PING_MS, () => this.close());
  }

  /** Both ends learn of it: the server at once (its system closes the socket), the client a little later. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.ends.server();
    this.timeline.later(this.latency, this.ends.client);
  }
}
