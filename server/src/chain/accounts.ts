/**
 * Who works for whom: devices, and the hotkeys that wallets let them mine for. The log of links is a store of its own, and all
 * of it is signed, so that anybody can check it. A guest's account is its device's key itself; linking it later moves all it
 * has earned, since the device is the same.
 */
import {
  acceptDelegation,
  assertFromDevice,
  type Challenges,
  type Delegation,
  encodeAddress,
  fromHex,
  unlinkMessage,
} from '@starling/chain/identity';
import { SwarmError } from '@starling/protocol';
import type { Store, Entry as StoredEntry } from '@starling/store';

export interface Receiver {
  network: string;
  netuid: number;
  server: string;
}

type Entry = { type: 'link'; delegation: Delegation; signed: unknown } | { type: 'unlink'; device: string; signature: string };

/** Entries read at a time. */
const PAGE = 1_000;

export class Accounts {
  readonly #store: Store;
  readonly #challenges: Challenges;
  readonly #now: () => number;
  /** By device. */
  readonly #links = new Map<string, { delegation: Delegation; signed: unknown }>();
  #seq = 0;
  #writing: Promise<unknown> = Promise.resolve();
  #failed: StoredEntry | null = null;

  private constructor(store: Store, challenges: Challenges, now: () => number) {
    this.#store = store;
    this.#challenges = challenges;
    this.#now = now;
  }

  /** Reads the links in `store`, which is its own and closed with it. */
  static async open(store: Store, challenges: Challenges, now: () => number = Date.now): Promise<Accounts> {
    const accounts = new Accounts(store, challenges, now);
    for (let page = await store.entries(0, PAGE); page.length > 0; page = await store.entries(accounts.#seq, PAGE)) {
      for (const { seq, body } of page) {
        accounts.#apply(JSON.parse(body) as Entry);
        accounts.#seq = seq;
      }
    }
    return accounts;
  }

  challenge(): { nonce: string; issuedAt: number } {
    return this.#challenges.issue(this.#now());
  }

  /** Takes a signed delegation that is for `receiver`. Throws what `acceptDelegation` throws, and what the store throws. */
  async link(signed: unknown, receiver: Receiver, assertMay?: (hotkey: string) => Promise<void>): Promise<Delegation> {
    const delegation = await acceptDelegation(signed, receiver, this.#challenges, this.#now(), assertMay);
    await this.#write({ type: 'link', delegation, signed });
    return delegation;
  }

  /** The device is a guest again. It signs the challenge of the delegation that ends. Throws `NOT_FOUND`, `SIGNATURE_INVALID`. */
  async unlink(device: string, signature: string, server: string): Promise<void> {
    const link = this.#links.get(device)?.delegation;
    if (!link) throw new SwarmError('NOT_FOUND', 'This device works for no hotkey.');
    await assertFromDevice(device, unlinkMessage({ ...link, server }), signature);
    await this.#write({ type: 'unlink', device, signature });
  }

  /** The delegation that is good now; null for a guest, and when it is over. */
  delegationOf(device: string): Delegation | null {
    const link = this.#links.get(device)?.delegation;
    return link && link.expiresAt > this.#now() ? link : null;
  }

  /** The same, as it was signed. */
  signedDelegationOf(device: string): unknown {
    return this.delegationOf(device) && this.#links.get(device)!.signed;
  }

  /** SS58: whom the device's work is for. */
  addressOf(device: string): string {
    return this.delegationOf(device)?.hotkey ?? encodeAddress(fromHex(device)!);
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {}); // told to whoever wrote
    await this.#store.close();
  }

  /** One after the other: in the log as in memory. */
  #write(entry: Entry): Promise<void> {
    const written = this.#writing
      .catch(() => {})
      .then(async () => {
        // A store takes nothing new before what failed was tried again.
        if (this.#failed) await this.#append(this.#failed);
        await this.#append({ seq: this.#seq + 1, at: this.#now(), body: JSON.stringify(entry) });
      });
    this.#writing = written;
    return written;
  }

  async #append(entry: StoredEntry): Promise<void> {
    this.#failed = entry;
    await this.#store.append({ entries: [entry], rows: [], tensors: [], released: [] });
    this.#failed = null;
    this.#seq = entry.seq;
    this.#apply(JSON.parse(entry.body) as Entry);
  }

  #apply(entry: Entry): void {
    if (entry.type === 'link') this.#links.set(entry.delegation.device, entry);
    else this.#links.delete(entry.device);
  }
}
