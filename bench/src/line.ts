/** A line between a miner and the server that can be cut: what a router does when it is unplugged. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Line {
  private readonly server: Server;
  private readonly pairs = new Set<{ near: Socket; far: Socket }>();
  private heldUntil = 0;

  private constructor(server: Server, port: number) {
    this.server = server;
    server.on('connection', (near) => {
      const far = connect(port, '127.0.0.1');
      const pair = { near, far };
      this.pairs.add(pair);
      const end = () => {
        this.pairs.delete(pair);
        near.destroy();
        far.destroy();
      };
      for (const socket of [near, far]) socket.setNoDelay(true).on('close', end).on('error', end);
      near.pipe(far);
      far.pipe(near);
      if (Date.now() < this.heldUntil) for (const socket of [near, far]) socket.pause();
    });
  }

  /** Passes everything on to `port` of this machine. */
  static async to(port: number): Promise<Line> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Line(server, port);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as { port: number }).port}`;
  }

  /** Every open socket closes. */
  drop(): void {
    for (const { near, far } of this.pairs) {
      near.destroy();
      far.destroy();
    }
  }

  /** Nothing gets through for so long; then what was sent does. */
  hold(ms: number): void {
    this.heldUntil = Date.now() + ms;
    for (const { near, far } of this.pairs) for (const socket of [near, far]) socket.pause();
    setTimeout(() => {
      for (const { near, far } of this.pairs) for (const socket of [near, far]) socket.resume();
    }, ms).unref();
  }

  close(): void {
    this.drop();
    this.server.close();
  }
}
