/** What a miner shows of itself, and where its time goes. */
import { type Activity, explain, Rate, type SwarmError, type Waiting } from '@starling/protocol';
import { initialState, type MinerState, type Phase } from './state.ts';

const REFUSALS_SHOWN = 20;
/** Progress is told to the server at most this often; it only feeds pages. */
const TOLD_EVERY_MS = 250;
/** Where nothing else changes, the rate is told anew so often, until it is 0. */
const FADING_MS = 5_000;
const PHASE_OF: Record<Activity, Phase> = {
  connecting: 'wait',
  downloading: 'wire',
  'warming-up': 'compute',
  forward: 'compute',
  backward: 'compute',
  evaluate: 'compute',
  uploading: 'merge',
  reducing: 'merge',
  applying: 'merge',
  waiting: 'wait',
  stopped: 'wait',
};
/** Between two leases, before the server says more. */
const IDLE: Waiting = { ...explain({ code: 'IDLE', message: 'Waiting for the next lease.' }), since: 0, until: null };

export interface StatusPorts {
  /** Says what it does to the server. */
  tell(activity: Activity, reason: string | null): void;
  /** Of the device. */
  memory(): MinerState['memory'] | null;
}

export class Status {
  /** Why no lease comes, as the server said last. */
  waiting: Waiting = IDLE;
  /** The rest after a lease, where it is to compute for a share of the time only; null when there is none. */
  resting: Waiting | null = null;
  private current: MinerState;
  private readonly ports: StatusPorts;
  private meter: { phase: Phase; since: number } = { phase: 'wait', since: performance.now() };
  private readonly listeners = new Set<(state: MinerState) => void>();
  private readonly rate = new Rate();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private fading: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, ports: StatusPorts) {
    this.ports = ports;
    this.current = initialState(name, Date.now());
  }

  get state(): MinerState {
    return this.current;
  }

  onState(listener: (state: MinerState) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  update(change: Partial<MinerState>): void {
    const now = Date.now();
    const since = change.activity && change.activity !== this.current.activity ? now : this.current.since;
    const memory = this.ports.memory() ?? this.current.memory;
    this.current = { ...this.current, since, memory, ...change };
    const { activity } = this.current;
    const tokensPerSecond = activity === 'stopped' ? 0 : this.rate.perSecond(now);
    this.current = { ...this.current, tokensPerSecond };
    for (const listener of this.listeners) listener(this.current);
    clearTimeout(this.fading);
    if (tokensPerSecond > 0) this.fading = setTimeout(() => this.update({}), FADING_MS);
  }

  act(activity: Activity, reason: string | null, waiting: Waiting | null = null): void {
    if (activity !== 'waiting') this.waiting = IDLE;
    this.enter(PHASE_OF[activity]);
    this.update({ activity, reason, waiting });
    // Leading edge would tell of every lease twice; a page that lags by a quarter second loses nothing.
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.ports.tell(this.current.activity, this.current.reason?.slice(0, 200) ?? null);
    }, TOLD_EVERY_MS);
  }

  idle(): void {
    const waiting = this.current.paused ?? this.resting ?? this.waiting;
    this.act('waiting', waiting.message, waiting);
  }

  /** Books the time since the last change on the phase that ends; returns that phase. */
  enter(phase: Phase): Phase {
    const { phase: ended, since } = this.meter;
    const now = performance.now();
    this.current = { ...this.current, spent: { ...this.current.spent, [ended]: this.current.spent[ended] + now - since } };
    this.meter = { phase, since: now };
    return ended;
  }

  /** A receipt was answered. `tokens`: of its backward, if it was one. */
  settled(counted: boolean, tokens: number): void {
    const { microbatches, surplus } = this.current;
    if (!counted) {
      this.update({ surplus: surplus + 1 });
      return;
    }
    if (tokens > 0) this.rate.add(tokens, Date.now());
    this.update({ microbatches: microbatches + 1, tokens: this.current.tokens + tokens, error: null });
  }

  refused(error: SwarmError): void {
    const refusals = [{ time: Date.now(), error: error.toWire() }, ...this.current.refusals].slice(0, REFUSALS_SHOWN);
    this.update({ rejected: this.current.rejected + 1, refusals });
  }

  close(): void {
    if (this.timer) clearTimeout(this.timer);
    clearTimeout(this.fading);
  }
}
