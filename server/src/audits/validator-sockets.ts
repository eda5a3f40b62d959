/** Where validators of other hotkeys connect: who proves its hotkey and may validate is asked from then on (namespace `/validate`). */
import type { Neuron } from '@starling/chain';
import { Challenges, decodeAddress, isSr25519 } from '@starling/chain/identity';
import {
  PROTOCOL_VERSION,
  parseMessage,
  type Reply,
  type RoundWork,
  SwarmError,
  VALIDATOR_REQUESTS,
  ValidatorHello,
  type ValidatorRequestName,
  type ValidatorRequests,
  validatorText,
} from '@starling/protocol';
import type { Namespace, Socket } from 'socket.io';
import type { Juror, Panel } from './panel.ts';

export interface ValidatorSocketParts {
  panel: Panel;
  serverName: string;
  /** Where the server is reached; null: at the addresses of this machine. */
  origin: string | null;
  /** Rao that must be on a hotkey which has a permit. */
  minimumStake: bigint;
  /** What the chain says of a hotkey; undefined: it is not registered. Throws what the chain throws. */
  neuron(hotkey: string): Promise<Pick<Neuron, 'permit' | 'stake'> | undefined>;
  /** The step whose work is being done. */
  step(): number;
}

export class ValidatorSockets {
  private readonly parts: ValidatorSocketParts;
  private readonly space: Namespace;
  private readonly challenges = new Challenges((bytes) => crypto.getRandomValues(new Uint8Array(bytes)));

  constructor(space: Namespace, parts: ValidatorSocketParts) {
    this.parts = parts;
    this.space = space;
    space.on('connection', (socket) => this.accept(socket));
  }

  /** A round of the ledger is closed: validators read it. */
  closed({ round }: RoundWork): void {
    this.space.emit('round', { round });
  }

  private accept(socket: Socket): void {
    let leave = () => {};
    const answering = (name: string, handle: (message: unknown) => unknown) =>
      socket.on(name, async (message: unknown, reply: unknown) => {
        const answer = (value: Reply<unknown>) => typeof reply === 'function' && reply(value);
        try {
          answer({ ok: true, value: await handle(message) });
        } catch (error) {
          answer({ ok: false, error: SwarmError.from(error).toWire() });
        }
      });
    answering('challenge', () => ({ server: this.parts.serverName, nonce: this.challenges.issue(Date.now()).nonce }));
    answering('hello', async (message) => {
      const { hotkey, backend } = await this.admit(message, socket);
      leave();
      leave = this.parts.panel.join(jurorOf(socket, hotkey, backend), this.parts.step());
      return { hotkey };
    });
    socket.on('disconnect', () => leave());
  }

  /**
   * Throws `BAD_MESSAGE`, `PROTOCOL_UNSUPPORTED`, `ORIGIN_WRONG`, `ADDRESS_INVALID`, `DELEGATION_REPLAYED`, `SIGNATURE_INVALID` or
   * `VALIDATOR_REFUSED`.
   */
  private async admit(message: unknown, socket: Socket): Promise<ValidatorHello> {
    const hello = parseMessage('hello', ValidatorHello, message);
    if (hello.protocol !== PROTOCOL_VERSION)
      throw new SwarmError('PROTOCOL_UNSUPPORTED', `This server speaks protocol ${PROTOCOL_VERSION}, the validator ${hello.protocol}.`);
    const { hotkey, origin, nonce, signature } = hello;
    const origins = this.parts.origin === null ? originsOf(socket) : [this.parts.origin];
    if (!origins.includes(origin))
      throw new SwarmError('ORIGIN_WRONG', `The validator connected to ${origin}; this server is ${origins.join(' or ')}.`);
    const publicKey = decodeAddress(hotkey);
    // Before the signature, which takes milliseconds to check: whoever wants that asks for a challenge each time.
    this.challenges.redeem(nonce, Date.now());
    const text = new TextEncoder().encode(validatorText(origin, nonce));
    if (!isSr25519(text, Uint8Array.from(Buffer.from(signature, 'hex')), publicKey))
      throw new SwarmError('SIGNATURE_INVALID', `The signature is not that of ${hotkey}.`);
    const { minimumStake } = this.parts;
    const { permit, stake } = (await this.parts.neuron(hotkey)) ?? { permit: false, stake: 0n };
    if (!permit || stake < minimumStake) {
      const has = `${permit ? 'a' : 'no'} validator permit on this subnet and ${inTao(stake)} TAO of stake`;
      throw new SwarmError('VALIDATOR_REFUSED', `The hotkey ${hotkey} has ${has}; it needs a permit and ${inTao(minimumStake)}.`);
    }
    return hello;
  }
}

const inTao = (rao: bigint) => (Number(rao) / 1e9).toLocaleString('en', { maximumFractionDigits: 3 });

/** Where this connection came in. A Host header says nothing here: who relays another's hello writes it, too. */
function originsOf({ request }: Socket): string[] {
  const { localAddress = '', localPort } = request.socket;
  const address = localAddress.replace(/^::ffff:/, '');
  const host = address.includes(':') ? `[${address}]` : address;
  const isLoopback = address === '::1' || address.startsWith('127.');
  return [host, ...(isLoopback ? ['localhost'] : [])].map((name) => new URL(`http://${name}:${localPort}`).origin);
}

const jurorOf = (socket: Socket, hotkey: string, backend: string): Juror => ({
  hotkey,
  backend,
  ask: async <K extends ValidatorRequestName>(name: K, asked: ValidatorRequests[K]['asked'], ms: number) => {
    if (!socket.connected) throw new SwarmError('CONNECTION_LOST', `Validator ${hotkey} is not connected.`);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const gone = () => reject(new SwarmError('CONNECTION_LOST', `Validator ${hotkey} is gone.`));
    socket.once('disconnect', gone);
    socket.timeout(ms).emit(name, asked, (error: Error | null, answer: unknown) => (error ? reject(error) : resolve(answer)));
    try {
      return parseMessage(name, VALIDATOR_REQUESTS[name].answered, await promise) as ValidatorRequests[K]['answered'];
    } finally {
      socket.off('disconnect', gone);
    }
  },
});
