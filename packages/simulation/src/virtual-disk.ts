/** The store behind a disk that takes time and may be full. What is being written when the process dies may be there or not. */
import { SwarmError } from '@starling/protocol';
import type { Batch, Store } from '@starling/store';
import type { World } from './world.ts';

const WRITE_MS = [1, 8] as const;

export class VirtualDisk {
  private readonly world: World;
  private readonly store: Store;
  private fullUntil = 0;
  private writing: Promise<void> = Promise.resolve();

  constructor(world: World, store: Store) {
    this.world = world;
    this.store = store;
  }

  fill(ms: number): void {
    this.fullUntil = this.world.timeline.now + ms;
  }

  /** Resolves when the write that was begun last is there, or will never be. */
  get settled(): Promise<void> {
    return this.writing;
  }

  /** The store as a process has it. `lives`: false once that is dead; then it learns of nothing any more. */
  openFor(lives: () => boolean): Store {
    const { store, world } = this;
    let queue: Promise<void> = Promise.resolve();
    /** Batches that failed, by their first entries: those behind the first fail, too, until it has got through. */
    const owed = new Set<number>();
    const write = (really: () => Promise<void>, batch: Batch | null = null) => {
      const done = queue.then(async () => {
        const first = batch ? batch.entries[0]!.seq : null;
        const blocked = first !== null && owed.size > 0 && first > Math.min(...owed);
        if (first !== null) owed.add(first);
        if (blocked) throw new SwarmError('STORE_FAILED', 'An earlier batch is not written yet.');
        await writeNow(really);
        if (first !== null) owed.delete(first);
      });
      queue = done.catch(() => {});
      return done;
    };
    const writeNow = async (really: () => Promise<void>) => {
      if (!lives()) await new Promise(() => {}); // the dead begin nothing
      const done = Promise.withResolvers<void>();
      this.writing = done.promise;
      await world.wait(world.vary(...WRITE_MS));
      try {
        if (lives() && world.timeline.now < this.fullUntil) throw new SwarmError('STORE_FAILED', 'The virtual disk is full.');
        if (lives() || world.random.chance(0.5)) await really();
      } finally {
        done.resolve();
      }
      // Nobody is there any more to learn of it.
      if (!lives()) await new Promise(() => {});
    };
    return {
      name: store.name,
      append: (batch: Batch) => write(() => store.append(batch), batch),
      saveSnapshot: (snapshot) => write(() => store.saveSnapshot(snapshot)),
      lastSeq: () => store.lastSeq(),
      entries: (after, limit) => store.entries(after, limit),
      snapshot: (through) => store.snapshot(through),
      rows: (kind, query) => store.rows(kind, query),
      tensors: () => store.tensors(),
      close: () => store.close(),
    };
  }
}
