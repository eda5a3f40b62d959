/**
 * Who works for whom: devices, and the hotkeys that wallets let them mine for. A device has one link, kept as it was signed, so that
 * anybody can check it, until it is over, ended, or another takes its place. A guest's account is its device's key itself; linking it
 * later moves all its credit, since the device is the same.
 */
import { createHash } from 'node:crypto';
import {
  acceptDelegation,
  assertFromDevice,
  type Challenges,
  type Delegation,
  encodeAddress,
  fromHex,
  SignedDelegation,
  unlinkMessage,
} from '@starling/chain/identity';
import { SwarmError } from '@starling/protocol';
import type { Store, StoredTensor } from '@starling/store';
import * as v from 'valibot';

export interface Receiver {
  network: string;
  netuid: number;
  server: string;
}

/** Kept at once: 100 MB. Keys are free, so who has done no work makes room. */
const MOST_LINKS = 100_000;
/** Between removals of what is over. */
const SWEEP_MS = 3_600_000;

/** Earlier releases kept a log, which ends with what says that its links were taken over. */
type Entry = { type: 'link'; signed: SignedDelegation } | { type: 'unlink'; device: string } | { type: 'moved' };
const PAGE = 1_000;

export class Accounts {
  readonly #store: Store;
  readonly #challenges: Challenges;
  readonly #now: () => number;
  readonly #most: number;
  /** By device, the newest last. */
  readonly #links = new Map<string, SignedDelegation>();
  #sweptAt = Number.NEGATIVE_INFINITY;
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(store: Store, challenges: Challenges, now: () => number, most: number) {
    this.#store = store;
    this.#challenges = challenges;
    this.#now = now;
    this.#most = most;
  }

  /** Reads the links in `store`, which is its own and closed with it. Throws what the store throws. */
  static async open(store: Store, challenges: Challenges, now: () => number = Date.now, most = MOST_LINKS): Promise<Accounts> {
    const accounts = new Accounts(store, challenges, now, most);
    await takeOver(store, now());
    for (const { scope, frame } of await store.tensors()) accounts.#links.set(scope, JSON.parse(new TextDecoder().decode(frame!)));
    return accounts;
  }

  challenge(): { nonce: string; issuedAt: number } {
    return this.#challenges.issue(this.#now());
  }

  /**
   * Takes a signed delegation that is for `receiver`. Where there are as many links as are kept, the oldest of a device that has done
   * no work goes. Throws what `acceptDelegation` throws, `BUSY` when all have worked, and what the store throws.
   */
  async link(
    signed: unknown,
    receiver: Receiver,
    assertMay?: (hotkey: string) => Promise<void>,
    hasWorked: (device: string) => boolean = () => false,
  ): Promise<Delegation> {
    const delegation = await acceptDelegation(signed, receiver, this.#challenges, this.#now(), assertMay);
    // Without what else came along.
    const link = v.parse(SignedDelegation, signed);
    const { device } = delegation;
    await this.#inTurn(async () => {
      const over = this.#over().filter((one) => one !== device);
      const released = over.length > 0 ? over : this.#roomFor(device, hasWorked);
      await this.#store.append({ entries: [], rows: [], tensors: [stored(link)], released });
      for (const one of [...released, device]) this.#links.delete(one);
      this.#links.set(device, link);
    });
    return delegation;
  }

  /** Whose link goes for this device's. */
  #roomFor(device: string, hasWorked: (device: string) => boolean): string[] {
    if (this.#links.has(device) || this.#links.size < this.#most) return [];
    const idle = [...this.#links.keys()].find((one) => !hasWorked(one));
    if (idle === undefined) throw new SwarmError('BUSY', `The server has as many links of devices to hotkeys as it keeps: ${this.#most}.`);
    return [idle];
  }

  /** The device is a guest again. It signs the challenge of the delegation that ends. Throws `NOT_FOUND`, `SIGNATURE_INVALID`. */
  async unlink(device: string, signature: string, server: string): Promise<void> {
    const link = this.#links.get(device)?.delegation;
    if (!link) throw new SwarmError('NOT_FOUND', 'This device works for no hotkey.');
    await assertFromDevice(device, unlinkMessage({ ...link, server }), signature);
    await this.#inTurn(async () => {
      await this.#store.append({ entries: [], rows: [], tensors: [], released: [device] });
      this.#links.delete(device);
    });
  }

  /** The delegation that is good now; null for a guest, and when it is over. */
  delegationOf(device: string): Delegation | null {
    const link = this.#links.get(device)?.delegation;
    return link && link.expiresAt > this.#now() ? link : null;
  }

  /** The same, as it was signed. */
  signedDelegationOf(device: string): unknown {
    return this.delegationOf(device) && this.#links.get(device)!;
  }

  /** SS58: whom the device's work is for. */
  addressOf(device: string): string {
    return this.delegationOf(device)?.hotkey ?? encodeAddress(fromHex(device)!);
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {}); // told to whoever wrote
    await this.#store.close();
  }

  /** One after the other: in the store as in memory. */
  #inTurn(task: () => Promise<void>): Promise<void> {
    const written = this.#writing.catch(() => {}).then(task); // told to whoever wrote
    this.#writing = written;
    return written;
  }

  /** Devices whose link is over, looked for once an hour, and when there is no more room. */
  #over(): string[] {
    const now = this.#now();
    if (now < this.#sweptAt + SWEEP_MS && this.#links.size < this.#most) return [];
    this.#sweptAt = now;
    return [...this.#links].filter(([, { delegation }]) => delegation.expiresAt <= now).map(([device]) => device);
  }
}

/** A link under its device's name: another takes its place. */
function stored(link: SignedDelegation): StoredTensor {
  const frame = new TextEncoder().encode(JSON.stringify(link));
  const hash = createHash('sha256').update(frame).digest('hex');
  return { scope: link.delegation.device, name: 'link', hash, frame, blob: null };
}

/** The links in a log of an earlier release, once. */
async function takeOver(store: Store, now: number): Promise<void> {
  let links = new Map<string, SignedDelegation>();
  let seq = 0;
  for (let page = await store.entries(0, PAGE); page.length > 0; page = await store.entries(seq, PAGE)) {
    for (const entry of page) {
      const said = JSON.parse(entry.body) as Entry;
      if (said.type === 'link') links.set(said.signed.delegation.device, said.signed);
      else if (said.type === 'unlink') links.delete(said.device);
      else links = new Map();
      seq = entry.seq;
    }
  }
  if (links.size === 0) return;
  const body = JSON.stringify({ type: 'moved' } satisfies Entry);
  await store.append({ entries: [{ seq: seq + 1, at: now, body }], rows: [], tensors: [...links.values()].map(stored), released: [] });
}
