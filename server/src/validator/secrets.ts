/** A validator's secrets: one for every epoch, from its own key, none of which is told while it may still draw. */
import { createHash } from 'node:crypto';
import { SwarmError } from '@starling/protocol';

export class Secrets {
  private readonly seed: string;
  /** The newest epoch that this process drew in; and that it told the secret of. */
  private drawn = -1;
  private told = -1;

  /** `seed`: what only this validator knows, such as the text of its hotkey's file. */
  constructor(seed: string) {
    this.seed = seed;
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
