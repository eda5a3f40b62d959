/** Nonces a server asks to see signed: each is good once, and not for long. */
import { SwarmError, toHex } from '@starling/protocol';

/** Time for a person to find the wallet's window and read what it says. */
const LIFETIME_MS = 120_000;
/** Issued and not used: more are nobody's honest doing, and the oldest go. */
const MOST = 10_000;
const NONCE_BYTES = 16;

export interface Challenge {
  /** 32 hex digits. */
  nonce: string;
  /** Unix ms. */
  issuedAt: number;
}

/** A lost server forgets them all: whoever was just signing is asked again. */
export class Challenges {
  /** By nonce, the oldest first. */
  readonly #issued = new Map<string, number>();
  readonly #random: (bytes: number) => Uint8Array;

  constructor(random: (bytes: number) => Uint8Array) {
    this.#random = random;
  }

  /** `now`: Unix ms. */
  issue(now: number): Challenge {
    for (const [nonce, at] of this.#issued) {
      if (now - at <= LIFETIME_MS && this.#issued.size < MOST) break;
      this.#issued.delete(nonce);
    }
    const nonce = toHex(this.#random(NONCE_BYTES));
    this.#issued.set(nonce, now);
    return { nonce, issuedAt: now };
  }

  /** Uses it up and gives the time it was issued at. Throws `DELEGATION_REPLAYED`. */
  redeem(nonce: string, now: number): number {
    const issuedAt = this.#issued.get(nonce);
    this.#issued.delete(nonce);
    if (issuedAt === undefined) throw new SwarmError('DELEGATION_REPLAYED', 'This challenge was used already, or is not of this server.');
    if (now - issuedAt > LIFETIME_MS) throw new SwarmError('DELEGATION_REPLAYED', 'This challenge is older than two minutes.');
    return issuedAt;
  }
}
