/** Commits of weights in a file: what a restart must not lose, since nobody but this process knows the salt. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommitsKept, WeightsCommit } from '@starling/chain';
import { DurableFiles } from '../durable-files.ts';

export class CommitsFile implements CommitsKept {
  readonly #folder: string;
  readonly #name: string;
  readonly #files: DurableFiles;

  /** In `folder`, under a name of the hotkey's own: several validators may share it. */
  constructor(folder: string, hotkey: string) {
    this.#folder = folder;
    this.#name = `commits-${hotkey}.json`;
    this.#files = new DurableFiles(folder);
  }

  async read(): Promise<WeightsCommit[]> {
    const text = await readFile(join(this.#folder, this.#name), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return '[]';
    });
    return JSON.parse(text) as WeightsCommit[];
  }

  async write(commits: readonly WeightsCommit[]): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await this.#files.write(this.#folder, this.#name, new TextEncoder().encode(JSON.stringify(commits)));
    await this.#files.flush(this.#folder);
  }
}
