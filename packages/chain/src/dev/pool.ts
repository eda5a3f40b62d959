/** Calls that wait for a block, in a line for each signer: nobody is served a second time before everybody else was served once. */
import type { Included } from '../chain.ts';
import type { Extrinsic } from './signed-call.ts';

export interface Waiting {
  extrinsic: Extrinsic;
  /** Signed in this process: not a stranger's. */
  own: boolean;
  resolve(included: Included): void;
  reject(error: unknown): void;
}

export class Pool {
  /** By signer; whose turn is next comes first. */
  readonly #lines = new Map<string, Waiting[]>();

  add(waiting: Waiting): void {
    const { signer } = waiting.extrinsic;
    const line = this.#lines.get(signer);
    if (line) line.push(waiting);
    else this.#lines.set(signer, [waiting]);
  }

  waitingOf(signer: string): number {
    return this.#lines.get(signer)?.length ?? 0;
  }

  /** Calls from outside of whoever has no place in the subnet. */
  strangers(neurons: ReadonlySet<string>): number {
    return this.#signers(neurons, false).reduce((all, signer) => all + this.waitingOf(signer), 0);
  }

  /** Whose line is the longest of theirs, and of several that whose turn is last. */
  longest(neurons: ReadonlySet<string>): string | undefined {
    const signers = this.#signers(neurons, false);
    const most = Math.max(...signers.map((signer) => this.waitingOf(signer)));
    return signers.findLast((signer) => this.waitingOf(signer) === most);
  }

  /** Takes back the newest call of a line of several, so that the nonces of the others stay good. */
  takeBack(signer: string): Waiting {
    return this.#lines.get(signer)!.pop()!;
  }

  /** At most so many: this process's and the neurons' in turn, and what is left of the block for strangers in turn. */
  take(most: number, neurons: ReadonlySet<string>): Waiting[] {
    const taken: Waiting[] = [];
    for (const first of [true, false]) {
      const signers = this.#signers(neurons, first);
      for (const signer of signers) {
        if (taken.length === most) return taken;
        const line = this.#lines.get(signer)!;
        taken.push(line.shift()!);
        this.#lines.delete(signer);
        if (line.length === 0) continue;
        // Behind all others, in this block and in the next.
        this.#lines.set(signer, line);
        signers.push(signer);
      }
    }
    return taken;
  }

  /** All of them. */
  clear(): Waiting[] {
    const all = [...this.#lines.values()].flat();
    this.#lines.clear();
    return all;
  }

  #signers(neurons: ReadonlySet<string>, first: boolean): string[] {
    const isFirst = ([signer, line]: [string, Waiting[]]) => neurons.has(signer) || line.some(({ own }) => own);
    return [...this.#lines].filter((entry) => isFirst(entry) === first).map(([signer]) => signer);
  }
}
