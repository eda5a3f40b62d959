/** Tasks that keep their order: those of one key run one after the other. */
export class Queues<Key> {
  private readonly tails = new Map<Key, Promise<void>>();
  private readonly fault: (error: unknown) => void;

  /** `fault` gets what a task throws; the next one runs all the same. */
  constructor(fault: (error: unknown) => void) {
    this.fault = fault;
  }

  /** Resolves when all that was added before is done. */
  done(key: Key): Promise<void> {
    return this.tails.get(key) ?? Promise.resolve();
  }

  add(key: Key, task: () => Promise<void>): void {
    const before = this.tails.get(key) ?? Promise.resolve();
    const after = before.then(task).catch(this.fault);
    this.tails.set(key, after);
    void after.then(() => {
      if (this.tails.get(key) === after) this.tails.delete(key);
    });
  }
}
