/**
 * Nonces a server asks to see signed: each is good once, and not for long. A nonce says itself when it was issued, under a
 * key that only the server has; only used ones are remembered, so asking for many takes nothing from anybody.
 */
import { blake2b } from '@noble/hashes/blake2.js';
import { SwarmError, toHex } from '@starling/protocol';
import { utf8 } from './bytes.ts';

/** Time for a person to find the wallet's window and read what it says. */
const LIFETIME_MS = 120_000;
const KEY_BYTES = 32;
const MAC_BYTES = 8;
/** Hex digits of the time (Unix ms), and of a count that tells apart those of the same ms. */
const TIME_DIGITS = 12;
const COUNT_DIGITS = 4;

export interface Challenge {
  /** 32 hex digits. */
  nonce: string;
  /** Unix ms. */
  issuedAt: number;
}

/** The key dies with its server: whoever was just signing is asked again, and what was used stays used. */
export class Challenges {
  readonly #key: Uint8Array;
  /** Until when each must be remembered, the oldest first. */
  readonly #used = new Map<string, number>();
  #count = 0;

  /** `random`: so many bytes that nobody can guess. */
  constructor(random: (bytes: number) => Uint8Array) {
    this.#key = random(KEY_BYTES);
  }

  /** `now`: Unix ms. */
  issue(now: number): Challenge {
    this.#count = (this.#count + 1) % 16 ** COUNT_DIGITS;
    const said = hex(now, TIME_DIGITS) + hex(this.#count, COUNT_DIGITS);
    return { nonce: said + this.#mac(said), issuedAt: now };
  }

  /** Uses it up and gives the time it was issued at. Throws `DELEGATION_REPLAYED`. */
  redeem(nonce: string, now: number): number {
    for (const [used, until] of this.#used) {
      if (until >= now) break;
      this.#used.delete(used);
    }
    const said = nonce.slice(0, TIME_DIGITS + COUNT_DIGITS);
    if (nonce !== said + this.#mac(said) || this.#used.has(nonce))
      throw new SwarmError('DELEGATION_REPLAYED', 'This challenge was used already, or is not of this server.');
    const issuedAt = Number.parseInt(said.slice(0, TIME_DIGITS), 16);
    if (now - issuedAt > LIFETIME_MS) throw new SwarmError('DELEGATION_REPLAYED', 'This challenge is older than two minutes.');
    this.#used.set(nonce, now + LIFETIME_MS);
    return issuedAt;
  }

  #mac(said: string): string {
    return toHex(blake2b(utf8(said), { key: this.#key, dkLen: MAC_BYTES }));
  }
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
