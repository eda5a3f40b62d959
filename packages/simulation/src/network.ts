/**
 * Sockets in virtual time. A connection keeps the order of its messages, as TCP does; loss, duplication and reordering
 * on top of that are worse than TCP allows. A partition holds messages back; if it lasts, both ends notice.
 */
import type { World } from './world.ts';

/** Socket.IO's default: a silent peer is given up after pingInterval + pingTimeout. */
export const PING_MS = 45_000;

export class Wire {
  open = true;
  private readonly world: World;
  private readonly latency: number;
  /** When the newest message of each direction arrives. */
  private readonly last = { up: 0, down: 0 };
  private cutUntil = 0;
  private readonly ends: Record<'client' | 'server', () => void>;

  constructor(world: World, latency: number, ends: Record<'client' | 'server', () => void>) {
    this.world = world;
    this.latency = latency;
    this.ends = ends;
  }

  /** `arrive` runs at the other end, unless the connection is gone by then. */
  send(direction: 'up' | 'down', arrive: () => void): void {
    if (!this.open) return;
    const { world } = this;
    const { random, schedule, timeline } = world;
    if (random.chance(schedule.loss)) {
      world.count('loss');
      return;
    }
    const deliver = () => {
      const earliest = Math.max(timeline.now, this.cutUntil) + this.latency * world.vary(0.8, 1.5);
      let at = Math.max(earliest, this.last[direction]);
      if (random.chance(schedule.reordering)) {
        world.count('reordering');
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
      world.count('duplication');
      deliver();
    }
  }

  /** Nothing gets through for so long; what is sent meanwhile comes afterwards, if the ends have not given up by then. */
  cut(ms: number): void {
    const { timeline } = this.world;
    this.cutUntil = timeline.now + ms;
    if (ms > PING_MS) timeline.later(PING_MS, () => this.close());
  }

  /** Both ends learn of it: the server at once (its system closes the socket), the client a little later. */
  close(): void {
    if (!this.open) return;
    this.open = false;
    this.ends.server();
    this.world.timeline.later(this.latency, this.ends.client);
  }
}
