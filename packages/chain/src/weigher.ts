/** A validator's weights: linear in the scores, set plainly, or committed and revealed, as the subnet asks for. */
import type { Chain, Metagraph, Neuron } from './chain.ts';
import { commitHash } from './commit-hash.ts';
import { weightsFromScores } from './emitted-weights.ts';
import type { Signer } from './identity/index.ts';
import { ChainRefusal } from './refusals.ts';

const SALT_WORDS = 8;

/** What the chain has taken. */
export interface Weighed {
  block: number;
  /** True: it counts only once it is revealed. */
  committed: boolean;
  weights: { uid: number; hotkey: string; weight: number }[];
}

/** Weights of which the chain has only the hash, or is about to get it. */
export interface Commit {
  uids: number[];
  values: number[];
  salt: number[];
  version: number;
  /** Of the block that the commit is in; while it is on its way, the newest at the time. */
  epoch: number;
}

/** Where commits outlive the process: without its salt one can never be revealed. */
export interface CommitsKept {
  read(): Promise<Commit[]>;
  write(commits: readonly Commit[]): Promise<void>;
}

/** What the chain says of a commit that is not there any more, or never came there. */
const VOID: ReadonlySet<string> = new Set([
  'NoWeightsCommitFound',
  'InvalidRevealCommitHashNotMatch',
  'ExpiredWeightCommit',
] satisfies ChainRefusal['reason'][]);

export class Weigher {
  readonly #chain: Chain;
  readonly #signer: Signer;
  readonly #kept: CommitsKept;
  readonly #random: (words: Uint16Array<ArrayBuffer>) => Uint16Array;
  #commits: Commit[] | null = null;

  /** `random` fills what it is given with numbers that nobody can guess. */
  constructor(
    chain: Chain,
    signer: Signer,
    kept: CommitsKept,
    random = (words: Uint16Array<ArrayBuffer>): Uint16Array => crypto.getRandomValues(words),
  ) {
    this.#chain = chain;
    this.#signer = signer;
    this.#kept = kept;
    this.#random = random;
  }

  /**
   * `scores` by hotkey; who is not registered gets nothing. Null when nobody who is has any: nothing is set then, since equal
   * weights for all would be pay for nothing. Throws `ChainRefusal`, or what the chain throws.
   */
  async weigh(scores: ReadonlyMap<string, number>): Promise<Weighed | null> {
    const graph = await this.#chain.metagraph();
    const byUid = graph.neurons.map(({ hotkey }) => scores.get(hotkey) ?? 0);
    if (byUid.every((score) => score === 0)) return null;
    const row = weightsFromScores(byUid, graph.rules);
    const [uids, values] = [[...row.uids], [...row.values]];
    this.#assertMay(graph, uids);
    const { revealPeriod, weightsVersion: version } = graph.rules;
    const weights = uids.map((uid, i) => ({ uid, hotkey: graph.neurons[uid]!.hotkey, weight: values[i]! }));
    if (revealPeriod === null) {
      const { block } = await this.#chain.submit({ type: 'setWeights', uids, weights: values, version }, this.#signer);
      return { block, committed: false, weights };
    }
    const salt = [...this.#random(new Uint16Array(SALT_WORDS))];
    const hash = commitHash({ hotkey: this.#signer.address, netuid: this.#chain.netuid, uids, weights: values, salt, version });
    const commit: Commit = { uids, values, salt, version, epoch: graph.epoch };
    // Written first: the process may die, or the line break, while the chain takes it.
    await this.#keep([...(await this.#pending()), commit]);
    try {
      const { block, epoch } = await this.#chain.submit({ type: 'commitWeights', hash }, this.#signer);
      commit.epoch = epoch;
      await this.#keep(await this.#pending());
      return { block, committed: true, weights };
    } catch (error) {
      if (error instanceof ChainRefusal) await this.#forget(commit);
      throw error;
    }
  }

  /**
   * Reveals what is due in this epoch, each on its own. To be called once it begins, and after every block again while this throws,
   * which it does when something is left or was lost (`ExpiredWeightCommit`).
   */
  async reveal(): Promise<void> {
    if ((await this.#pending()).length === 0) return;
    const { epoch, rules } = await this.#chain.metagraph();
    const failures: unknown[] = [];
    for (const commit of await this.#pending()) {
      const due = commit.epoch + (rules.revealPeriod ?? 0);
      if (due > epoch) continue;
      if (due < epoch) {
        await this.#forget(commit);
        failures.push(new ChainRefusal('ExpiredWeightCommit', `Weights that were due in epoch ${due} were not revealed in time.`));
        continue;
      }
      const { uids, values: weights, salt, version } = commit;
      try {
        await this.#chain.submit({ type: 'revealWeights', uids, weights, salt, version }, this.#signer);
        await this.#forget(commit);
      } catch (error) {
        const reason = error instanceof ChainRefusal ? error.reason : '';
        if (VOID.has(reason)) await this.#forget(commit);
        else if (reason === 'RevealTooEarly') {
          // It got into a block after the epoch in which it was sent.
          commit.epoch += 1;
          await this.#keep(await this.#pending());
        } else failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  async #pending(): Promise<Commit[]> {
    this.#commits ??= await this.#kept.read();
    return this.#commits;
  }

  async #keep(commits: Commit[]): Promise<void> {
    this.#commits = commits;
    await this.#kept.write(commits);
  }

  async #forget(commit: Commit): Promise<void> {
    await this.#keep((await this.#pending()).filter((one) => one !== commit));
  }

  /** What the chain would refuse is refused here, so that no call is made in vain. */
  #assertMay({ neurons, rules, block, owner }: Metagraph, uids: readonly number[]): void {
    const neuron: Neuron | undefined = neurons.find(({ hotkey }) => hotkey === this.#signer.address);
    if (!neuron) throw new ChainRefusal('HotKeyNotRegisteredInSubNet', `The validator’s hotkey ${this.#signer.address} is not registered.`);
    const isSelfWeight = uids.length === 1 && uids[0] === neuron.uid;
    if (!neuron.permit && !isSelfWeight && neuron.hotkey !== owner)
      throw new ChainRefusal(
        'NeuronNoValidatorPermit',
        `The validator’s hotkey ${neuron.hotkey} holds no permit: it may weigh only itself.`,
      );
    const free = neuron.lastUpdate + rules.weightsRateLimit;
    if (neuron.lastUpdate !== 0 && block < free)
      throw new ChainRefusal('SettingWeightsTooFast', `It is block ${block}; the next weights are taken from block ${free}.`);
  }
}
