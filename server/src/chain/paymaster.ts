/**
 * The run's side towards the chain: rounds come in, weights go out, and pages see what came of it. It only listens to the run;
 * whatever happens to the chain, training goes on.
 */
import {
  type Chain,
  ChainRefusal,
  type CommitsKept,
  type Delegation,
  DevChain,
  type EpochPaid,
  encodeAddress,
  fromHex,
  type Metagraph,
  type Neuron,
  type Signer,
} from '@starling/chain';
import { type AccountView, type ChainView, type ChallengeView, type RoundWork, SwarmError, type WeightsView } from '@starling/protocol';
import { type Tally, tallyAfter, tallyOf } from '../scores.ts';
import type { Accounts, Receiver } from './accounts.ts';
import type { ChainLine } from './line.ts';
import {
  type AccountNames,
  correlationOf,
  Emissions,
  heldOf,
  NOT_SINCE,
  payOf,
  SETTLED_HALF_LIVES,
  type Since,
  scoresByAddress,
  sinceSettled,
} from './pay.ts';
import { WeightsLoop } from './weights-loop.ts';

export interface PaymasterParts {
  kind: ChainView['kind'];
  line: ChainLine;
  accounts: Accounts;
  /** The server's own name. */
  server: string;
  /** Of the chain that is meant, while it was not reached yet. */
  netuid: number;
  /** Whose weights are set; null: the chain is only read. */
  validator: Signer | null;
  /** Of the validator. */
  commits: CommitsKept;
  /** Before weights are set. */
  prepare(chain: Chain, scores: ReadonlyMap<string, number>): Promise<void>;
  blockMs: number;
  roundSteps: number;
  /** Ms in which scores halve. */
  halfLife: number;
  /** The ledger so far, the oldest line first. */
  ledger: readonly RoundWork[];
  /** Weights are not taken, and why (an error); or they are again (null). */
  tell(trouble: SwarmError | null): void;
}

/** Pages ask often; the chain has news once a block, and is asked no more often than that, nor than this. */
const FRESH_MS = 1_000;
const DAY_MS = 86_400_000;
/** Epochs of before that emission is added up over: at the defaults, two weeks. */
const EPOCHS_READ = 5_000;

export class Paymaster {
  readonly line: ChainLine;
  readonly #parts: PaymasterParts;
  readonly #names: AccountNames;
  readonly #emissions = new Emissions();
  #tally: Tally;
  #newest: RoundWork | null;
  #weights: WeightsView | null = null;
  #loop: WeightsLoop | null = null;
  #refused: SwarmError | null = null;
  #graph: { at: number; graph: Promise<Metagraph> } | null = null;
  #leave: () => void = () => {};
  #settled: (() => void)[] = [];
  /** Of what was paid before this process. */
  #reading: Promise<void> = Promise.resolve();

  constructor(parts: PaymasterParts) {
    this.#parts = parts;
    this.line = parts.line;
    this.#tally = tallyOf(parts.ledger);
    this.#newest = parts.ledger.at(-1) ?? null;
    this.#names = {
      addressOf: (device) => parts.accounts.addressOf(device),
      guestAddress: (device) => encodeAddress(fromHex(device)!),
    };
    parts.line.whenOpen((chain) => {
      this.#reading = this.#opened(chain);
    });
  }

  async #opened(chain: Chain): Promise<void> {
    this.#leave = chain.onEpoch((paid) => this.#paid(paid));
    const { validator, prepare, blockMs, commits } = this.#parts;
    const before = await chain.epochs(EPOCHS_READ).catch(() => []);
    // Those that come meanwhile are told as well; what is already counted is not counted again.
    for (const paid of before.reverse()) this.#add(paid);
    if (!validator) return;
    this.#loop = new WeightsLoop(chain, validator, {
      prepare,
      retryMs: blockMs,
      commits,
      onSet: (weights) => {
        this.#weights = weights;
      },
      tell: (trouble) => {
        if (this.#refused?.message !== trouble?.message) this.#parts.tell(trouble);
        this.#refused = trouble;
      },
    });
    this.#set();
  }

  #epoch = 0;
  #since: Since = NOT_SINCE;
  #paid(paid: EpochPaid): void {
    if (!this.#add(paid)) return;
    // A metagraph of before it would be shown beside this epoch's pay.
    this.#graph = null;
    const { blockMs, halfLife } = this.#parts;
    const pay = payOf(this.#tally.scores, this.#names, null, null, this.#emissions);
    this.#since = sinceSettled(pay, this.#since, paid.block * blockMs, SETTLED_HALF_LIVES * halfLife);
    for (const settled of this.#settled.splice(0)) settled();
  }

  /** False when it was added before. */
  #add(paid: EpochPaid): boolean {
    if (paid.epoch <= this.#epoch) return false;
    this.#epoch = paid.epoch;
    this.#emissions.add(paid);
    return true;
  }

  /** A round of the ledger is closed. */
  closed(round: RoundWork): void {
    this.#tally = tallyAfter(this.#tally, round);
    this.#newest = round;
    this.#set();
  }

  #set(): void {
    const scores = scoresByAddress(this.#tally.scores, this.#names);
    // While all work is held there is nobody to give weight to.
    if (this.#newest && scores.size > 0) this.#loop?.set({ round: this.#newest.round, scores });
  }

  /** Resolves at the end of the chain's next epoch. */
  nextEpoch(): Promise<void> {
    return new Promise((resolve) => this.#settled.push(resolve));
  }

  // ── views ─────────────────────────────────────────────────────────────────────────────────────

  get #receiver(): Receiver {
    const { network, netuid } = this.#parts.line.opened;
    return { network, netuid, server: this.#parts.server };
  }

  #metagraph(now = Date.now()): Promise<Metagraph> {
    if (!this.#graph || now - this.#graph.at > Math.min(FRESH_MS, this.#parts.blockMs))
      this.#graph = { at: now, graph: this.#parts.line.opened.metagraph() };
    return this.#graph.graph;
  }

  /** Never throws: while the chain does not answer, what the server knows is shown, and the trouble. */
  async view(): Promise<ChainView> {
    const { kind, line, server, netuid, roundSteps, halfLife, blockMs } = this.#parts;
    await this.#reading;
    let { trouble } = line;
    const graph = await this.#read().catch((error: unknown) => {
      trouble ??= SwarmError.from(error, 'CHAIN_UNREACHABLE');
      return null;
    });
    trouble ??= this.#refused;
    const pay = payOf(this.#tally.scores, this.#names, graph, this.#weights, this.#emissions);
    return {
      kind,
      server,
      network: line.chain?.network ?? '',
      netuid: line.chain?.netuid ?? netuid,
      trouble: trouble?.toWire() ?? null,
      block: graph?.block ?? 0,
      epoch: graph?.epoch ?? 0,
      nextEpoch: graph?.nextEpoch ?? 0,
      tempo: graph?.rules.tempo ?? 0,
      blockMs,
      burn: String(graph?.burn ?? 0n),
      rounds: { steps: roundSteps, halfLife, newest: this.#newest },
      neurons: (graph?.neurons ?? []).map(({ stake, emission, stakeWeight: _s, registeredAt: _r, ...neuron }) => ({
        ...neuron,
        stake: String(stake),
        emission: String(emission),
      })),
      pay,
      weights: this.#weights,
      correlation: correlationOf(pay, this.#since),
    };
  }

  /** Throws nothing at once: a chain that was never reached is a rejection, too. */
  async #read(): Promise<Metagraph> {
    return this.#metagraph();
  }

  /** Throws `CHAIN_UNREACHABLE` while it is not known which chain it is. */
  challenge(): ChallengeView {
    return { ...this.#receiver, ...this.#parts.accounts.challenge() };
  }

  /** Throws what `Accounts.link` throws; on a chain of others also for a hotkey that is not registered, `HotKeyNotRegisteredInSubNet`. */
  async link(signed: unknown): Promise<AccountView> {
    const { device } = await this.#parts.accounts.link(
      signed,
      this.#receiver,
      (hotkey) => this.#assertRegistered(hotkey),
      (one) => this.#tally.scores.has(one),
    );
    this.#set();
    return this.account(device);
  }

  /** On its own chain the server registers whoever works. */
  async #assertRegistered(hotkey: string): Promise<void> {
    if (this.#parts.kind === 'embedded') return;
    const { neurons } = await this.#metagraph();
    if (!neurons.some((neuron) => neuron.hotkey === hotkey))
      throw new ChainRefusal('HotKeyNotRegisteredInSubNet', `The hotkey ${hotkey} is not registered: work for it would earn nothing.`);
  }

  /** Throws what `Accounts.unlink` throws. */
  async unlink(device: string, signature: string): Promise<AccountView> {
    await this.#parts.accounts.unlink(device, signature, this.#parts.server);
    this.#set();
    return this.account(device);
  }

  /** Null for a guest. */
  signedDelegation(device: string): unknown {
    return this.#parts.accounts.signedDelegationOf(device);
  }

  /** Undefined for a hotkey that is not registered. Throws what the chain throws. */
  async neuron(hotkey: string): Promise<Neuron | undefined> {
    return (await this.#metagraph()).neurons.find((one) => one.hotkey === hotkey);
  }

  async account(device: string): Promise<AccountView> {
    const { accounts } = this.#parts;
    const address = accounts.addressOf(device);
    const delegation = accounts.delegationOf(device);
    const graph = await this.#read().catch(() => null);
    const neuron = graph?.neurons.find(({ hotkey }) => hotkey === address);
    const all = payOf(this.#tally.scores, this.#names, graph, this.#weights, this.#emissions);
    const place = all.findIndex((line) => line.address === address);
    const pay = all[place];
    const epochsADay = graph ? DAY_MS / (graph.rules.tempo * this.#parts.blockMs) : 0;
    return {
      address,
      delegation: delegation && publicPart(delegation),
      uid: neuron?.uid ?? null,
      stake: neuron ? String(neuron.stake) : null,
      own: await this.#ownOf(device),
      work: pay?.work ?? 0,
      score: pay?.score ?? 0,
      halfLife: this.#parts.halfLife,
      held: heldOf(this.#tally.held, this.#names, address, this.#parts.roundSteps),
      rank: pay && pay.score > 0 ? { place: place + 1, of: all.filter(({ score }) => score > 0).length } : null,
      emission: pay?.emission ?? '0',
      perDay: String(Math.round(Number(pay?.lastEmission ?? 0) * epochsADay)),
    };
  }

  async #ownOf(device: string): Promise<AccountView['own']> {
    const { chain } = this.#parts.line;
    if (!(chain instanceof DevChain)) return null;
    const own = this.#names.guestAddress(device);
    return { staked: String(chain.stakeOf(own, own)), free: String(await chain.balance(own)) };
  }

  async close(): Promise<void> {
    this.#leave();
    this.#loop?.close();
    await this.#parts.line.close();
    await this.#parts.accounts.close();
  }
}

const publicPart = ({ hotkey, server, nonce, issuedAt, expiresAt }: Delegation) => ({ hotkey, server, nonce, issuedAt, expiresAt });
