/**
 * A validator's secrets: one for every epoch of a run, from its own key, none of which is told while it may still draw. What it tells one
 * server, or of one run, is nothing to another: a hotkey may validate on several, and epochs begin at 0 everywhere.
 */
import { createHash } from 'node:crypto';
import { SwarmError } from '@starling/protocol';

export class Secrets {
  readonly runId: string;
  private readonly seed: string;
  /** The newest epoch that this process drew in; and that it told the secret of. */
  private drawn = -1;
  private told = -1;

  /**
   * `seed`: what only this validator knows, such as the text of its hotkey's file. `origin`: of the address that it connects to itself,
   * since another server could say it were this one, and had this run.
   */
  constructor(seed: string, origin: string, runId: string) {
    this.runId = runId;
    this.seed = `${origin}\n${runId}\n${seed}`;
  }

  of(epoch: number): string {
    return createHash('sha256').update(`starling audits\n${epoch}\n${this.seed}`).digest('hex');
  }

  /** To draw with. Throws `BAD_MESSAGE` when this epoch's secret is public. */
  toDraw(epoch: number): string {
    if (epoch <= this.told) throw new SwarmError('BAD_MESSAGE', `The secret of epoch ${epoch} is told: nothing is drawn by it any more.`);
    this.drawn = Math.max(this.drawn, epoch);
    return this.of(epoch);
  }

  /** To be told. Throws `BAD_MESSAGE` while the epoch is under way. */
  toTell(epoch: number): string {
    if (epoch >= this.drawn) throw new SwarmError('BAD_MESSAGE', `Epoch ${epoch} is not over: its secret is not told.`);
    this.told = Math.max(this.told, epoch);
    return this.of(epoch);
  }
}
