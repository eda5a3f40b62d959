/** For tests: a line to PostgreSQL that breaks on command, in the ways in which lines break. */
import { createServer, connect as dial, type Server, type Socket } from 'node:net';

/** `before`: what is said next gets lost, and the line breaks. `after`: it arrives, and the line breaks before the answer. */
type Cut = 'before' | 'after';

export class Line {
  readonly #server: Server;
  readonly #far: URL;
  readonly #pairs: [near: Socket, far: Socket][] = [];
  #cut: Cut | null = null;
  /** How much is said before it breaks. */
  #spared = 0;
  #frozen: [Socket, Socket][] = [];
  #swallowed = () => {};
  #down = false;

  static async to(postgres: string): Promise<Line> {
    const line = new Line(postgres);
    await new Promise<void>((resolve) => line.#server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  private constructor(postgres: string) {
    this.#far = new URL(postgres);
    this.#server = createServer((near) => this.#connected(near));
  }

  /** `address` by way of this line. */
  through(address: string): string {
    const url = new URL(address);
    url.port = String((this.#server.address() as { port: number }).port);
    return url.href;
  }

  /** Breaks at the next thing that is said, or after `spared` things; null: not at all. */
  cut(when: Cut | null, spared = 0): void {
    this.#cut = when;
    this.#spared = spared;
  }

  /** Whoever is connected hears nothing any more, on either side; nobody is told. Resolves when something was said in vain. */
  freeze(): Promise<void> {
    this.#frozen = [...this.#pairs];
    return new Promise((resolve) => {
      this.#swallowed = resolve;
    });
  }

  /** New connections break at once, and all that there are. */
  down(): void {
    this.#down = true;
    this.#breakAll();
  }

  up(): void {
    this.#down = false;
  }

  close(): Promise<void> {
    this.#breakAll();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #breakAll(): void {
    for (const socket of this.#pairs.flat()) socket.destroy();
  }

  #connected(near: Socket): void {
    if (this.#down) return void near.destroy();
    const far = dial(Number(this.#far.port || 5432), this.#far.hostname);
    const pair: [Socket, Socket] = [near, far];
    this.#pairs.push(pair);
    const lost = () => this.#frozen.includes(pair);
    const end = () => {
      if (lost()) return;
      near.destroy();
      far.destroy();
    };
    for (const socket of pair) socket.on('error', () => {}).on('close', end);
    let answerIsLost = false;
    near.on('data', (said) => {
      if (lost()) return this.#swallowed();
      const cut = this.#spared-- > 0 ? null : this.#cut;
      if (cut) this.#cut = null;
      if (cut === 'before') return end();
      answerIsLost = cut === 'after';
      far.write(said);
    });
    far.on('data', (answer) => {
      if (lost()) return;
      if (answerIsLost) end();
      else near.write(answer);
    });
  }
}
