/**
 * Socket.IO packets as MessagePack: one WebSocket frame per message, tensors and all, where Socket.IO's own form sends a
 * JSON frame and one more for every tensor. Both ends must use it.
 */
import { Decoder as PackDecoder, Encoder as PackEncoder } from '@msgpack/msgpack';
import { Emitter } from '@socket.io/component-emitter';

interface Packet {
  type: number;
  nsp: string;
  data?: unknown;
  id?: number;
}

/** Of https://github.com/socketio/socket.io-protocol, without the two that announce attachments. */
const CONNECT = 0;
const DISCONNECT = 1;
const EVENT = 2;
const ACK = 3;
const CONNECT_ERROR = 4;

class Encoder {
  private readonly pack = new PackEncoder({ ignoreUndefined: true });

  encode(packet: Packet): Uint8Array[] {
    return [this.pack.encode(packet)];
  }
}

class Decoder extends Emitter<Record<never, never>, Record<never, never>, { decoded: (packet: Packet) => void }> {
  private readonly pack = new PackDecoder();

  /** Throws for what is no packet: Socket.IO then closes the connection. */
  add(bytes: unknown): void {
    if (!(bytes instanceof Uint8Array) && !(bytes instanceof ArrayBuffer)) throw new Error('A packet is binary.');
    const packet = this.pack.decode(bytes) as Packet;
    if (!isPacket(packet)) throw new Error('Not a Socket.IO packet.');
    this.emitReserved('decoded', packet);
  }

  destroy(): void {}
}

function isPacket(packet: Partial<Packet> | null): packet is Packet {
  if (typeof packet !== 'object' || packet === null || typeof packet.nsp !== 'string') return false;
  const { type, data, id } = packet;
  if (id !== undefined && !Number.isInteger(id)) return false;
  switch (type) {
    case CONNECT:
      return data === undefined || data === null || typeof data === 'object';
    case DISCONNECT:
      return data === undefined || data === null;
    case EVENT:
      return Array.isArray(data) && typeof data[0] === 'string';
    case ACK:
      return Array.isArray(data) && id !== undefined;
    case CONNECT_ERROR:
      return typeof data === 'string' || typeof data === 'object';
    default:
      return false;
  }
}

/** The `parser` option of both ends. */
export const packets = { Encoder, Decoder };
