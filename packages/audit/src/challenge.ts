/**
 * Commit, then challenge. A miner has said all of a step when it has signed its receipts and handed in its gradient; only then
 * is it drawn who is audited, from a secret that nobody but the validator knows. The validator published the secret's
 * hash before, and tells the secret afterwards: anybody can draw again and see that nobody was picked or spared.
 */
import { sha256, sha256Hex } from '@starling/protocol';

/** All that one miner said in one step at one stage. */
export interface Commit {
  minerId: string;
  /** SHA-256 of it, 64 hex digits: `commitHash`. */
  hash: string;
}

const text = (value: string) => new TextEncoder().encode(value);

/** Of the receipts' signed contents in the order of their leases, and of the gradient's blob, if any. */
export function commitHash(
  receipts: readonly { leaseId: string; inputHash: string; outputHash: string | null; lossSum: number | null }[],
  gradient: string | null,
): Promise<string> {
  const lines = receipts.map(({ leaseId, inputHash, outputHash, lossSum }) =>
    [leaseId, inputHash, outputHash ?? '-', lossSum ?? '-'].join(' '),
  );
  return sha256Hex(text([...lines.sort(), gradient ?? '-'].join('\n')));
}

/** What is published before anything is committed. */
export const secretHash = (secret: string): Promise<string> => sha256Hex(text(secret));

/** H(secret ‖ stage ‖ version ‖ commits), the commits in the order of their miners. */
export async function challengeSeed(secret: string, stage: number, version: number, commits: readonly Commit[]): Promise<string> {
  const lines = commits.map(({ minerId, hash }) => `${minerId} ${hash}`).sort();
  return sha256Hex(text([secret, stage, version, ...lines].join('\n')));
}

/** Uniform in [0, 1), from the first 48 bits of H(seed ‖ subject). */
export async function chanceOf(seed: string, subject: string): Promise<number> {
  const bytes = await sha256(text(`${seed}\n${subject}`));
  return new DataView(bytes.buffer).getUint32(0) / 2 ** 32 + new DataView(bytes.buffer).getUint16(4) / 2 ** 48;
}

/** The miners to audit, each with the chance `rateOf` gives it, in the order of `commits`. */
export async function drawAudits(seed: string, commits: readonly Commit[], rateOf: (minerId: string) => number): Promise<string[]> {
  const chances = await Promise.all(commits.map(({ minerId }) => chanceOf(seed, minerId)));
  return commits.filter(({ minerId }, i) => chances[i]! < rateOf(minerId)).map(({ minerId }) => minerId);
}

/** These in an order that follows from the seed, and from nothing that they do. */
export async function inDrawnOrder(seed: string, minerIds: readonly string[]): Promise<string[]> {
  const drawn = await Promise.all(minerIds.map(async (minerId) => ({ minerId, at: await chanceOf(`${seed} order`, minerId) })));
  return drawn.sort((a, b) => a.at - b.at).map(({ minerId }) => minerId);
}
