/**
 * Files that are there whole or not at all. Each is written aside, flushed, renamed, and durable when its folder is
 * flushed, too; so after a power cut a name means the whole file.
 */
import * as nodeFileSystem from 'node:fs/promises';
import { join } from 'node:path';

/** What is asked of a disk: a part of `node:fs/promises`, so that tests can make it fail. */
export interface FileSystem {
  mkdir(path: string, options: { recursive: true }): Promise<unknown>;
  readdir(path: string): Promise<string[]>;
  readFile(path: string): Promise<Uint8Array>;
  open(
    path: string,
    flags: 'r' | 'w',
  ): Promise<{ writeFile(data: Uint8Array): Promise<void>; sync(): Promise<void>; close(): Promise<void> }>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
}

export class DurableFiles {
  readonly #fs: FileSystem;
  readonly #temporary: string;
  #count = 0;

  /** `temporary`: a folder on the same disk, for files being written. */
  constructor(temporary: string, fs: FileSystem = nodeFileSystem) {
    this.#temporary = temporary;
    this.#fs = fs;
  }

  /** Makes the folders, and empties that of unfinished files. */
  async open(...folders: string[]): Promise<void> {
    for (const folder of [this.#temporary, ...folders]) await this.#fs.mkdir(folder, { recursive: true });
    await this.removeAllBut(this.#temporary, new Set());
  }

  list(folder: string): Promise<string[]> {
    return this.#fs.readdir(folder);
  }

  read(folder: string, name: string): Promise<Uint8Array> {
    return this.#fs.readFile(join(folder, name));
  }

  /** Puts a whole file under its name or changes nothing. Durable once the folder is flushed, too. */
  async write(folder: string, name: string, bytes: Uint8Array): Promise<void> {
    // Two may write the same name at once.
    const aside = join(this.#temporary, `${name}.${this.#count++}`);
    try {
      const file = await this.#fs.open(aside, 'w');
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#fs.rename(aside, join(folder, name));
    } catch (error) {
      await this.#fs.unlink(aside).catch(() => {});
      throw error;
    }
  }

  async flush(folder: string): Promise<void> {
    if (process.platform === 'win32') return; // Windows opens no folders; NTFS journals its names by itself
    const handle = await this.#fs.open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  remove(folder: string, name: string): Promise<void> {
    return this.#fs.unlink(join(folder, name));
  }

  async removeAllBut(folder: string, kept: ReadonlySet<string>): Promise<void> {
    for (const name of await this.#fs.readdir(folder)) {
      if (!kept.has(name)) await this.#fs.unlink(join(folder, name));
    }
  }

  /** Also when it was renamed already: what is unfinished goes. */
  emptyTemporary(): Promise<void> {
    return this.removeAllBut(this.#temporary, new Set());
  }
}
