import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Corpus, characterBorder, loadCorpus, permute, Sampler } from './corpus.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'starling-corpus-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** A corpus whose training byte at position i is `i mod 251`, so that a window tells where it began. */
function synthetic(trainBytes: number, heldOutBytes: number): Corpus {
  const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => i % 251);
  return { name: 'synthetic', files: 1, skipped: 0, train: bytes(trainBytes), heldOut: bytes(heldOutBytes), hash: '' };
}

describe('loadCorpus', () => {
  test('one ASCII file is split like nanoGPT splits it', async () => {
    const path = join(folder, 'one.txt');
    await writeFile(path, 'The swarm learns. '.repeat(70_000).slice(0, 1_115_394)); // tiny Shakespeare's length
    const corpus = await loadCorpus(path);
    expect([corpus.train.length, corpus.heldOut.length]).toEqual([1_003_854, 111_540]);
    expect(corpus).toMatchObject({ name: 'one.txt', files: 1, skipped: 0 });
    expect((await loadCorpus(path)).hash).toBe(corpus.hash);
  });

  test('a folder: all text in it by path, each file split, linked files too; binaries, copies and what is hidden left out', async () => {
    const root = join(folder, 'tree');
    await mkdir(join(root, 'b'), { recursive: true });
    await writeFile(join(root, 'z.md'), 'z'.repeat(10));
    await writeFile(join(root, 'b', 'a.txt'), 'a'.repeat(20));
    await writeFile(join(root, 'b', 'copy.txt'), 'a'.repeat(20));
    await writeFile(join(root, 'c.txt'), Uint8Array.of(0x66, 0xff, 0x66));
    await writeFile(join(root, 'd.txt'), Uint8Array.of(0x66, 0, 0x66));
    await writeFile(join(root, '.hidden'), 'not looked at');
    await writeFile(join(folder, 'elsewhere.py'), 'y'.repeat(10));
    await symlink(join(folder, 'elsewhere.py'), join(root, 'y.py'));
    await symlink(join(folder, 'nowhere'), join(root, 'x.txt'));
    await symlink(root, join(root, 'loop'));
    const corpus = await loadCorpus(root);
    expect(Buffer.from(corpus.train).toString()).toBe('a'.repeat(18) + 'y'.repeat(9) + 'z'.repeat(9));
    expect(Buffer.from(corpus.heldOut).toString()).toBe('aayz');
    expect(corpus).toMatchObject({ files: 3, skipped: 3 });
  });

  test('the cut never splits a character', async () => {
    const path = join(folder, 'euro.txt');
    await writeFile(path, '€'.repeat(11)); // 33 bytes: nine tenths is byte 29, inside a character that begins at 27
    const corpus = await loadCorpus(path);
    expect([corpus.train.length, corpus.heldOut.length]).toEqual([27, 6]);
    expect(Buffer.from(corpus.heldOut).toString()).toBe('€€');
    expect(characterBorder(Buffer.from('a😀b'), 4)).toBe(1);
  });

  test('without a path: the Markdown of the installed packages, the same each time', async () => {
    const [first, second] = [await loadCorpus(), await loadCorpus()];
    expect(first.hash).toBe(second.hash);
    expect(first.train.length + first.heldOut.length).toBeGreaterThan(100_000);
    expect(first.train.length + first.heldOut.length).toBeLessThanOrEqual(8 * 1024 * 1024);
  });

  test.each([
    ['a missing path', () => join(folder, 'nowhere')],
    [
      'a binary',
      async () => {
        const path = join(folder, 'binary.txt');
        await writeFile(path, Uint8Array.of(0xc3, 0x28));
        return path;
      },
    ],
    ['a device', () => '/dev/zero'],
    [
      'an empty folder',
      async () => {
        const path = join(folder, 'empty');
        await mkdir(path);
        return path;
      },
    ],
  ])('%s is refused', async (_, make) => {
    await expect(loadCorpus(await make())).rejects.toMatchObject({ code: 'CORPUS_UNUSABLE' });
  });
});

describe('permute', () => {
  test.each([1, 2, 3, 5, 16, 17, 255, 256, 1000, 4097])('is a permutation of %i', (size) => {
    const seen = new Set(Array.from({ length: size }, (_, i) => permute(i, size, 12345)));
    expect(seen.size).toBe(size);
    expect(Math.min(...seen)).toBe(0);
    expect(Math.max(...seen)).toBe(size - 1);
  });

  test('another key gives another order, and neighbours are scattered', () => {
    const order = (key: number) => Array.from({ length: 1000 }, (_, i) => permute(i, 1000, key));
    const same = order(1).filter((value, i) => value === order(2)[i]).length;
    expect(same).toBeLessThan(20); // 1 expected by chance
    const steps = order(1)
      .slice(1)
      .map((value, i) => Math.abs(value - order(1)[i]));
    const mean = steps.reduce((a, b) => a + b) / steps.length;
    expect(mean).toBeGreaterThan(250); // 333 expected of two random places
    expect(mean).toBeLessThan(420);
  });

  test('works up to 2³² without leaving the range', () => {
    const size = 2 ** 32 - 5;
    for (const index of [0, 1, 2 ** 31, size - 1]) {
      expect(permute(index, size, 7)).toBeGreaterThanOrEqual(0);
      expect(permute(index, size, 7)).toBeLessThan(size);
    }
  });
});

describe('Sampler', () => {
  const sizes = { sequences: 2, context: 5, seed: 3 };

  test('targets are the tokens shifted by one', () => {
    const { tokens, targets } = new Sampler(synthetic(251, 40), sizes).train(4);
    expect([tokens.length, targets.length]).toEqual([10, 10]);
    for (let i = 0; i < 10; i++) expect(targets[i]).toBe((tokens[i] + 1) % 251);
  });

  test('an epoch shows every window once, and the next one in another order', () => {
    const sampler = new Sampler(synthetic(215, 40), sizes); // 42 windows, 21 microbatches an epoch
    expect(sampler.windows).toBe(42);
    const epoch = (number: number) =>
      Array.from({ length: 21 }, (_, i) => sampler.train(number * 21 + i).tokens).flatMap((tokens) => [tokens[0], tokens[5]]);
    for (const number of [0, 1, 2]) {
      const starts = epoch(number);
      expect(new Set(starts).size).toBe(42);
      const offset = Math.min(...starts);
      expect(offset).toBeLessThan(5);
      expect(starts.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 42 }, (_, i) => offset + 5 * i));
    }
    expect(epoch(0)).not.toEqual(epoch(1));
    expect(new Set([0, 1, 2, 3, 4, 5].map((number) => Math.min(...epoch(number)))).size).toBeGreaterThan(1);
  });

  test('is a pure function of cursor and seed', () => {
    const corpus = synthetic(1000, 100);
    const [a, b] = [new Sampler(corpus, sizes), new Sampler(corpus, sizes)];
    for (const cursor of [700, 3, 0, 12]) b.train(cursor);
    expect(b.train(5)).toEqual(a.train(5));
    expect(new Sampler(corpus, { ...sizes, seed: 4 }).train(5)).not.toEqual(a.train(5));
  });

  test('the validation sample is fixed and spread over the held-out text', () => {
    const sampler = new Sampler(synthetic(1000, 201), sizes); // 40 held-out windows for 8 places
    expect(sampler.validationMicrobatches).toBe(4);
    const starts = [0, 1, 2, 3].flatMap((i) => [sampler.validation(i).tokens[0], sampler.validation(i).tokens[5]]);
    expect(starts).toEqual([0, 25, 50, 75, 100, 125, 150, 175]);
    expect(new Sampler(synthetic(1000, 11), sizes).validationMicrobatches).toBe(1);
  });

  test('too little text is refused with the amount needed', () => {
    expect(() => new Sampler(synthetic(90, 10), sizes)).toThrow('holds 100 bytes; microbatches of 2 × 5 tokens need at least 110');
    expect(() => new Sampler(synthetic(14, 100), sizes)).toThrow(expect.objectContaining({ code: 'CORPUS_UNUSABLE' }));
    expect(() => new Sampler(synthetic(15, 11), sizes)).not.toThrow();
  });
});
