/**
 * From the scores of a round to the weights of a validator. What the chain does not take now (too soon, no permit yet, node
 * down) is tried again until it does or a newer round takes its place, and what was committed until its epoch is over; training
 * knows nothing of it.
 */
import { type Chain, type ChainRefusal, type CommitsKept, type Signer, Weigher } from '@starling/chain';
import { SwarmError, type WeightsView } from '@starling/protocol';

export interface LoopPorts {
  /** Before weights are set: where the chain is the server's own, it registers who earned something. */
  prepare(chain: Chain, scores: ReadonlyMap<string, number>): Promise<void>;
  /** Weights were taken. */
  onSet(weights: WeightsView): void;
  /** They were not, and why (an error); or they were again (null). */
  tell(trouble: SwarmError | null): void;
  /** Ms between attempts: a block. */
  retryMs: number;
  /** Commits to reveal, also those of before this process. */
  commits: CommitsKept;
}

/** Scores of a round, by hotkey. */
export interface RoundScores {
  round: number;
  scores: ReadonlyMap<string, number>;
}

/** Nobody's fault, and over by itself. */
const PATIENT = new Set<string>(['SettingWeightsTooFast', 'CommittingWeightsTooFast'] satisfies ChainRefusal['reason'][]);

export class WeightsLoop {
  readonly #chain: Chain;
  readonly #signer: Signer;
  readonly #weigher: Weigher;
  readonly #ports: LoopPorts;
  readonly #leave: () => void;
  #due: RoundScores | null = null;
  /** Something may be due to be revealed. */
  #reveals = false;
  #timer: NodeJS.Timeout | null = null;
  #busy = false;
  #closed = false;

  constructor(chain: Chain, signer: Signer, ports: LoopPorts) {
    this.#chain = chain;
    this.#signer = signer;
    this.#weigher = new Weigher(chain, signer, ports.commits);
    this.#ports = ports;
    const toReveal = () => {
      this.#reveals = true;
      void this.#attempt();
    };
    this.#leave = chain.onEpoch(toReveal);
    toReveal();
  }

  /** The newest scores; older ones that were not set yet are dropped. */
  set(scores: RoundScores): void {
    this.#due = scores;
    void this.#attempt();
  }

  async #attempt(): Promise<void> {
    if (this.#busy || this.#closed) return;
    this.#busy = true;
    if (this.#reveals) await this.#reveal();
    if (this.due) await this.#weigh(this.due);
    this.#busy = false;
    if ((this.due || this.#reveals) && !this.#closed) {
      if (this.#timer) clearTimeout(this.#timer);
      this.#timer = setTimeout(() => void this.#attempt(), this.#ports.retryMs);
    }
  }

  async #reveal(): Promise<void> {
    // An epoch that begins meanwhile asks again.
    this.#reveals = false;
    try {
      await this.#weigher.reveal();
    } catch (error) {
      this.#reveals = true;
      if (!this.#closed) this.#ports.tell(SwarmError.from(error));
    }
  }

  async #weigh(due: RoundScores): Promise<void> {
    try {
      await this.#ports.prepare(this.#chain, due.scores);
      const weighed = await this.#weigher.weigh(due.scores);
      if (this.due === due) this.#due = null;
      if (weighed) {
        const { block, weights } = weighed;
        this.#ports.onSet({ round: due.round, block, hotkey: this.#signer.address, weights });
        this.#ports.tell(null);
      }
    } catch (error) {
      if (!PATIENT.has((error as Partial<ChainRefusal>).reason ?? '') && !this.#closed) this.#ports.tell(SwarmError.from(error));
    }
  }

  /** Null when nothing waits to be set. */
  get due(): RoundScores | null {
    return this.#due;
  }

  close(): void {
    this.#closed = true;
    this.#leave();
    if (this.#timer) clearTimeout(this.#timer);
  }
}
