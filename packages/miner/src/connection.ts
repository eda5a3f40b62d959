/**
 * The socket to the orchestrator. A request is sent once the session is joined, and again after every reconnect until
 * it is answered: all requests are idempotent. Commands are parsed before anybody sees them.
 */
import {
  COMMANDS,
  type CommandName,
  type Commands,
  type Hello,
  type MinerToServer,
  parseMessage,
  type Replies,
  type Reply,
  type RequestName,
  type Requests,
  type ServerToMiner,
  SwarmError,
  type Welcome,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { io, type Socket } from 'socket.io-client';

interface Pending {
  name: RequestName;
  message: unknown;
  settle: (reply: Reply<unknown>) => void;
}

export interface ConnectionEvents {
  /** What to say first; asked again at every (re)connect. */
  hello(): Hello;
  welcome(welcome: Welcome): void;
  command<K extends CommandName>(name: K, message: Commands[K]): void;
  /** The server refused the hello: no use in trying again by itself. */
  refused(error: SwarmError): void;
  /** `retryAt`: Unix ms of the next attempt. */
  lost(reason: string, retryAt: number): void;
}

/** Between attempts to connect: doubles, and is drawn from half of it to all of it, so that a swarm does not come back at one moment. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 5_000;

export class Connection {
  private readonly socket: Socket<ServerToMiner, MinerToServer>;
  private readonly events: ConnectionEvents;
  private readonly pending = new Set<Pending>();
  private joined = false;
  /** Connected or not, it wants no place in the run. */
  private aside = false;
  private attempts = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor(url: string, events: ConnectionEvents) {
    this.events = events;
    // WebSocket only: the long-polling start would need sticky sessions and doubles the first requests.
    this.socket = io(url, {
      transports: ['websocket'],
      // By itself it would not tell when.
      reconnection: false,
      forceNew: true,
      parser: packets,
    });
    this.socket.on('connect', () => {
      this.attempts = 0;
      if (!this.aside) this.join();
    });
    this.socket.on('disconnect', (reason) => {
      this.joined = false;
      if (reason === 'io client disconnect') return; // by `leave`
      this.connectLater(reason);
    });
    this.socket.on('connect_error', (error) => this.connectLater(error.message));
    for (const name of Object.keys(COMMANDS) as CommandName[]) {
      (this.socket as unknown as Socket).on(name as string, (message: unknown) => {
        this.events.command(name, parseMessage(name, COMMANDS[name], message) as Commands[typeof name]);
      });
    }
  }

  private connectLater(reason: string): void {
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.attempts) * (0.5 + 0.5 * Math.random());
    this.attempts += 1;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.socket.connect(), pause);
    this.events.lost(reason, Date.now() + pause);
  }

  /** Now, instead of at the time that was told: the device says that it has a network again. */
  hurry(): void {
    if (this.socket.connected) return;
    clearTimeout(this.retry);
    this.socket.connect();
  }

  /** Says hello (again): at every connect, and to ask for a fresh assignment. */
  join(): void {
    this.joined = false;
    this.aside = false;
    if (!this.socket.connected) return; // it does by itself once it is
    (this.socket as unknown as Socket).emit('hello', this.events.hello(), (reply: Reply<Welcome>) => {
      if (this.aside) return; // it was given up meanwhile
      if (!reply.ok) {
        this.events.refused(SwarmError.fromWire(reply.error));
        return;
      }
      this.joined = true;
      this.events.welcome(reply.value);
      for (const item of this.pending) this.emit(item);
    });
  }

  /** Gives up its place and stays connected, until `join`; requests that are open are sent again then. */
  stepAside(reason: string): void {
    if (this.aside) return;
    this.joined = false;
    this.aside = true;
    // Also where the hello is not answered yet.
    if (this.socket.connected) (this.socket as unknown as Socket).emit('leave', { reason: reason.slice(0, 200) });
  }

  /** The server's name for the present connection; empty without one. */
  get socketId(): string {
    return this.socket.id ?? '';
  }

  /** Resolves with the server's answer; rejects with its `SwarmError`. Waits out any loss of connection. */
  request<K extends RequestName>(name: K, message: Requests[K]): Promise<Replies[K]> {
    return new Promise((resolve, reject) => {
      const item: Pending = {
        name,
        message,
        settle: (reply) => {
          if (!this.pending.delete(item)) return; // answered before, on another connection
          if (reply.ok) resolve(reply.value as Replies[K]);
          else reject(SwarmError.fromWire(reply.error));
        },
      };
      this.pending.add(item);
      if (this.joined) this.emit(item);
    });
  }

  /** For messages that are worth nothing later. */
  tell<K extends RequestName>(name: K, message: Requests[K]): void {
    if (this.joined) (this.socket as unknown as Socket).volatile.emit(name, message, () => {});
  }

  /** Resolves when nothing more is granted, and what was granted has come; after a moment at the latest. */
  async quieten(pauseMs: number): Promise<void> {
    if (this.joined)
      await this.socket
        .timeout(1_000)
        .emitWithAck('busy', { leaseId: null, pauseMs })
        .catch(() => {});
  }

  /** Sends `leave`, gives it a moment to arrive, and closes. Open requests are never answered. */
  async leave(reason: string): Promise<void> {
    const answered = this.joined ? this.socket.timeout(1_000).emitWithAck('leave', { reason }) : Promise.resolve();
    await answered.catch(() => {}); // the server then notices by the closed socket
    this.pending.clear();
    clearTimeout(this.retry);
    this.socket.disconnect();
  }

  private emit(item: Pending): void {
    (this.socket as unknown as Socket).emit(item.name, item.message, (reply: Reply<unknown>) => {
      // The session ended meanwhile (the server restarted): hello comes first, then this again.
      if (!reply.ok && reply.error.code === 'NOT_JOINED') {
        if (this.joined) this.join();
        return;
      }
      item.settle(reply);
    });
  }
}
