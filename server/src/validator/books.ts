/**
 * What a validator pays by: the server's public ledger, less what it found false itself, summed by account from delegations whose
 * signatures it checks. Nothing else of what the server says about pay is believed.
 */
import { checkDelegation, encodeAddress, fromHex } from '@starling/chain';
import type { RoundWork } from '@starling/protocol';
import { scoresByAddress } from '../chain/pay.ts';
import { NO_TALLY, type Tally, tallyAfter } from '../scores.ts';

export interface BooksParts {
  /** Lines of the ledger after this round. */
  ledger(after: number): Promise<RoundWork[]>;
  /** The delegation of a device as it was signed; null: of a guest. */
  delegation(device: string): Promise<unknown>;
  /** Whom delegations must be for. */
  receiver: { network: string; netuid: number; server: string };
  now(): number;
}

export class Books {
  private readonly parts: BooksParts;
  private tally: Tally = NO_TALLY;
  private newest = 0;
  /** Found false by this validator, and in no line that was read yet. */
  private readonly found = new Set<string>();

  constructor(parts: BooksParts) {
    this.parts = parts;
  }

  /** What is held of this miner's, and what it does in the round that is under way, counts for nothing here. */
  convict(minerId: string): void {
    this.found.add(minerId);
  }

  /** Reads what is new. Null when there is no line yet; else the scores by account after the newest. */
  async read(): Promise<{ round: number; scores: Map<string, number> } | null> {
    for (let lines = await this.parts.ledger(this.newest); lines.length > 0; lines = await this.parts.ledger(this.newest)) {
      for (const line of lines) this.tally = tallyAfter(this.tally, { ...line, convicted: [...line.convicted, ...this.found] });
      this.found.clear();
      this.newest = lines.at(-1)!.round;
    }
    if (this.newest === 0) return null;
    const addresses = new Map<string, string>();
    for (const device of this.tally.scores.keys()) addresses.set(device, await this.addressOf(device));
    const guestAddress = (device: string) => encodeAddress(fromHex(device)!);
    return {
      round: this.newest,
      scores: scoresByAddress(this.tally.scores, { addressOf: (device) => addresses.get(device)!, guestAddress }),
    };
  }

  /** A delegation that does not hold good moves no pay: the device is a guest. */
  private async addressOf(device: string): Promise<string> {
    const signed = await this.parts.delegation(device);
    const own = encodeAddress(fromHex(device)!);
    if (signed === null) return own;
    const delegation = await checkDelegation(signed, this.parts.receiver, this.parts.now()).catch(() => null);
    return delegation?.device === device ? delegation.hotkey : own;
  }
}
