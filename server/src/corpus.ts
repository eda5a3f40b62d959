/**
 * The text a run learns from: where it comes from, how it is split, and which bytes make microbatch number n.
 *
 * The vocabulary is the byte: token = byte, 256 of them. A corpus is loaded once and never changes; its hash
 * names it, so a resumed run can tell that it still reads the same text.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, extname, join, relative, resolve, sep } from 'node:path';
import { SwarmError } from '@starling/protocol';

export interface Corpus {
  name: string;
  /** Files that were used. */
  files: number;
  /** Files that were left out: empty, binary, not UTF-8, or a copy of another one. */
  skipped: number;
  train: Uint8Array;
  heldOut: Uint8Array;
  /** SHA-256 in hex over the training bytes followed by the held-out bytes. */
  hash: string;
}

/** Token numbers, row-major `[sequences, context]`; `targets[i]` is the token that follows `tokens[i]`. */
export interface Microbatch {
  tokens: Int32Array<ArrayBuffer>;
  targets: Int32Array<ArrayBuffer>;
}

const ROOT = resolve(import.meta.dirname, '../..');
/** Enough for any run that fits the default presets, and read in a moment. */
const DEFAULT_LIMIT = 8 * 1024 * 1024;
const HELD_OUT_SHARE = 0.1;

/**
 * Loads a file, or all UTF-8 text in a folder (sorted by path; hidden files and folders aside), or, without a path, the
 * Markdown files of the installed packages up to 8 MiB. The last 10 % of every file's bytes are held out for validation, cut at the
 * border of a UTF-8 character; for one ASCII file this is nanoGPT's 90/10 split.
 * Throws `CORPUS_UNUSABLE` when nothing readable is there.
 */
export async function loadCorpus(path?: string): Promise<Corpus> {
  if (path === undefined) {
    const folder = join(ROOT, 'node_modules');
    return assemble('Markdown of the installed packages', await textFiles(folder, '.md'), DEFAULT_LIMIT);
  }
  try {
    const found = await stat(path);
    // A pipe or a device may never end.
    if (!found.isDirectory() && !found.isFile()) throw new SwarmError('CORPUS_UNUSABLE', `${path} is neither a file nor a folder.`);
    const files = found.isDirectory() ? await textFiles(path) : [path];
    return await assemble(basename(resolve(path)), files, Number.POSITIVE_INFINITY);
  } catch (error) {
    if (error instanceof SwarmError) throw error;
    throw new SwarmError('CORPUS_UNUSABLE', `--corpus ${path} cannot be read: ${(error as Error).message}.`, { cause: error });
  }
}

/** All files below `folder`, or those with one extension, in the same order on every machine. Linked folders are not entered. */
async function textFiles(folder: string, extension?: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths: string[] = [];
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (extension === undefined ? isHidden(relative(folder, path)) : extname(entry.name).toLowerCase() !== extension) continue;
    if (entry.isFile() || (entry.isSymbolicLink() && (await isLinkToFile(path)))) paths.push(path);
  }
  return paths
    .map((path) => ({ path, key: relative(folder, path).split(sep).join('/') }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ path }) => path);
}

const isHidden = (path: string) => path.split(sep).some((part) => part.startsWith('.'));
const isLinkToFile = (path: string) =>
  stat(path).then(
    (found) => found.isFile(),
    () => false, // it leads nowhere
  );

async function assemble(name: string, paths: string[], limit: number): Promise<Corpus> {
  const train: Uint8Array[] = [];
  const heldOut: Uint8Array[] = [];
  const seen = new Set<string>();
  let total = 0;
  let skipped = 0;
  for (const path of paths) {
    const bytes = await readFile(path);
    const digest = createHash('sha256').update(bytes).digest('hex');
    if (bytes.length === 0 || bytes.includes(0) || !isUtf8(bytes) || seen.has(digest)) {
      skipped++;
      continue;
    }
    if (total + bytes.length > limit) break;
    seen.add(digest);
    total += bytes.length;
    const cut = characterBorder(bytes, Math.floor(bytes.length * (1 - HELD_OUT_SHARE)));
    train.push(bytes.subarray(0, cut));
    heldOut.push(bytes.subarray(cut));
  }
  if (total === 0) {
    throw new SwarmError('CORPUS_UNUSABLE', `No UTF-8 text in ${name} (${paths.length} files looked at, ${skipped} skipped).`);
  }
  const parts = { train: Buffer.concat(train), heldOut: Buffer.concat(heldOut) };
  const hash = createHash('sha256').update(parts.train).update(parts.heldOut).digest('hex');
  return { name, files: seen.size, skipped, ...parts, hash };
}

/** The nearest position at or before `cut` where a UTF-8 character begins. */
export function characterBorder(bytes: Uint8Array, cut: number): number {
  let border = cut;
  while (border > 0 && (bytes[border] & 0xc0) === 0x80) border--;
  return border;
}

/**
 * Cuts a corpus into microbatches. Nothing is remembered between calls: microbatch number `cursor` is a pure
 * function of corpus, sizes and seed, so a resumed run needs only the number it had reached.
 *
 * The training bytes are cut into windows of `context + 1` bytes at stride `context` (the last byte of one is
 * the first of the next, so every byte is a target once). An epoch is a keyed permutation of all windows; each
 * epoch has its own key and its own start offset below `context`, so that borders fall elsewhere.
 */
export class Sampler {
  /** Training windows in one epoch. */
  readonly windows: number;
  /** Microbatches of the fixed validation sample. */
  readonly validationMicrobatches: number;
  readonly #corpus: Corpus;
  readonly #sequences: number;
  readonly #context: number;
  readonly #seed: number;
  readonly #heldOutWindows: number;

  /** Throws `CORPUS_UNUSABLE` when training or held-out text is too short for one microbatch. */
  constructor(corpus: Corpus, { sequences, context, seed }: { sequences: number; context: number; seed: number }) {
    this.#corpus = corpus;
    this.#sequences = sequences;
    this.#context = context;
    this.#seed = seed;
    this.windows = Math.floor(corpus.train.length / context) - 1; // room for every start offset
    this.#heldOutWindows = Math.floor((corpus.heldOut.length - 1) / context);
    if (this.windows < sequences || this.#heldOutWindows < sequences) {
      const needed = Math.ceil(Math.max(((sequences + 1) * context) / (1 - HELD_OUT_SHARE), (sequences * context + 1) / HELD_OUT_SHARE));
      const held = corpus.train.length + corpus.heldOut.length;
      throw new SwarmError(
        'CORPUS_UNUSABLE',
        `${corpus.name} holds ${held} bytes; microbatches of ${sequences} × ${context} tokens need at least ${needed}.`,
      );
    }
    this.validationMicrobatches = Math.min(4, Math.floor(this.#heldOutWindows / sequences));
  }

  /** Training microbatch number `cursor` (0, 1, 2, …; an epoch's end may fall inside one). */
  train(cursor: number): Microbatch {
    return this.#microbatch(this.#corpus.train, (row) => this.#trainingStart(cursor * this.#sequences + row));
  }

  /** Validation microbatch `index` below `validationMicrobatches`: always the same, spread evenly over the held-out text. */
  validation(index: number): Microbatch {
    const chosen = this.validationMicrobatches * this.#sequences;
    return this.#microbatch(this.#corpus.heldOut, (row) => {
      const window = Math.floor(((index * this.#sequences + row) * this.#heldOutWindows) / chosen);
      return window * this.#context;
    });
  }

  /** First byte of the `n`-th window drawn since the run began. */
  #trainingStart(n: number): number {
    const epoch = Math.floor(n / this.windows);
    const key = mix(mix(this.#seed) ^ epoch);
    const offset = mix(key ^ 0x5bd1e995) % this.#context;
    return offset + permute(n % this.windows, this.windows, key) * this.#context;
  }

  #microbatch(bytes: Uint8Array, startOf: (row: number) => number): Microbatch {
    const tokens = new Int32Array(this.#sequences * this.#context);
    const targets = new Int32Array(tokens.length);
    for (let row = 0; row < this.#sequences; row++) {
      const start = startOf(row);
      tokens.set(bytes.subarray(start, start + this.#context), row * this.#context);
      targets.set(bytes.subarray(start + 1, start + 1 + this.#context), row * this.#context);
    }
    return { tokens, targets };
  }
}

/**
 * Where `index` goes under a keyed permutation of [0, size), size ≤ 2³²: a balanced Feistel network over the
 * next even number of bits, walked along its cycle until it lands inside (Black and Rogaway, "Ciphers with
 * arbitrary finite domains", 2002). Integers only, so every engine gives the same order; under 4 walks on average.
 */
export function permute(index: number, size: number, key: number): number {
  let half = 1;
  while (4 ** half < size) half++;
  const base = 2 ** half;
  let value = index;
  do {
    let left = Math.floor(value / base);
    let right = value % base;
    for (let round = 1; round <= 6; round++) {
      [left, right] = [right, (left ^ mix(right ^ mix(key + round))) & (base - 1)];
    }
    value = left * base + right;
  } while (value >= size);
  return value;
}

/** A bijection of 32-bit integers whose every input bit moves about half the output bits (MurmurHash3's finaliser). */
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
