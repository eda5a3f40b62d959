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

interface Commit {
  uids: number[];
  values: number[];
  /** Epoch in which it is to be revealed. */
  due: number;
  salt: number[];
  version: number;
}

/** Commits are remembered in memory only: one whose process dies is void, and the next weights take its place. */
export class Weigher {
  readonly #chain: Chain;
  readonly #signer: Signer;
  readonly #random: (words: Uint16Array<ArrayBuffer>) => Uint16Array;
  #commits: Commit[] = [];

  /** `random` fills what it is given with numbers that nobody can guess. */
  constructor(chain: Chain, signer: Signer, random = (words: Uint16Array<ArrayBuffer>): Uint16Array => crypto.getRandomValues(words)) {
    this.#chain = chain;
    this.#signer = signer;
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
    this.#assertMay(graph);
    const row = weightsFromScores(byUid, graph.rules);
    const [uids, values] = [[...row.uids], [...row.values]];
    const { revealPeriod, weightsVersion: version } = graph.rules;
    const weights = uids.map((uid, i) => ({ uid, hotkey: graph.neurons[uid]!.hotkey, weight: values[i]! }));
    if (revealPeriod === null) {
      const { block } = await this.#chain.submit({ type: 'setWeights', uids, weights: values, version }, this.#signer);
      return { block, committed: false, weights };
    }
    const salt = [...this.#random(new Uint16Array(SALT_WORDS))];
    const hash = commitHash({ hotkey: this.#signer.address, netuid: this.#chain.netuid, uids, weights: values, salt, version });
    const { block } = await this.#chain.submit({ type: 'commitWeights', hash }, this.#signer);
    this.#commits.push({ uids, values, salt, version, due: (await this.#chain.metagraph()).epoch + revealPeriod });
    return { block, committed: true, weights };
  }

  /** Reveals what is due in this epoch and forgets what is past. To be called in every epoch of a subnet with commit and reveal. */
  async reveal(): Promise<void> {
    if (this.#commits.length === 0) return;
    const { epoch } = await this.#chain.metagraph();
    this.#commits = this.#commits.filter(({ due }) => due >= epoch);
    for (const commit of this.#commits.filter(({ due }) => due === epoch)) {
      const { uids, values: weights, salt, version } = commit;
      await this.#chain.submit({ type: 'revealWeights', uids, weights, salt, version }, this.#signer);
      this.#commits.splice(this.#commits.indexOf(commit), 1);
    }
  }

  /** What the chain would refuse is refused here, so that no call is made in vain. */
  #assertMay({ neurons, rules, block }: Metagraph): void {
    const neuron: Neuron | undefined = neurons.find(({ hotkey }) => hotkey === this.#signer.address);
    if (!neuron) throw new ChainRefusal('HotKeyNotRegisteredInSubNet', `The validator’s hotkey ${this.#signer.address} is not registered.`);
    const free = neuron.lastUpdate + rules.weightsRateLimit;
    if (neuron.lastUpdate !== 0 && block < free)
      throw new ChainRefusal('SettingWeightsTooFast', `It is block ${block}; the next weights are taken from block ${free}.`);
  }
}
