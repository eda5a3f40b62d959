/**
 * How many miners one address has in the run. Keys and sessions are free, so without this whoever opens sockets takes everybody's
 * place. Who comes from this machine is not counted: tests, and everybody behind a proxy whose header is not trusted.
 */
import { isIPv6 } from 'node:net';
import { SwarmError } from '@starling/protocol';

export interface AddressesParts {
  /** Of one address, at most. */
  most: number;
  /** Header in which a proxy of the operator's writes where a connection comes from; null: there is none, and no header is believed. */
  header: string | null;
  /** Whether a miner is part of the run. */
  isHere(minerId: string): boolean;
}

/** As socket.io tells of a connection, or HTTP of a request. */
export interface Handshake {
  address: string;
  headers: Record<string, string | string[] | undefined>;
}

export class Addresses {
  private readonly parts: AddressesParts;
  /** Miners by address; some may be gone. */
  private readonly miners = new Map<string, Set<string>>();
  /** Of all, at the last clearing: those that are gone are forgotten when it has doubled. */
  private cleared = 1_000;

  constructor(parts: AddressesParts) {
    this.parts = parts;
  }

  /** A newcomer, before it joins. Throws `BUSY` when its address has its share. */
  admit(handshake: Handshake, minerId: string): void {
    const { most } = this.parts;
    const address = this.addressOf(handshake);
    if (address === null) return;
    if (this.miners.size > 2 * this.cleared) this.clear();
    const here = this.here(this.miners.get(address));
    if (here.size >= most && !here.has(minerId))
      throw new SwarmError(
        'BUSY',
        `${here.size} miners of the address ${address} are here, as many as this server takes of one (--address-miners): stop one of them, or ask whoever runs the server for more.`,
      );
    this.miners.set(address, here.add(minerId));
  }

  /** The last one that the header names: those before it were sent along, and may be invented. Null: this machine, which is not counted. */
  addressOf({ address, headers }: Handshake): string | null {
    const { header } = this.parts;
    const said = header === null ? undefined : [headers[header.toLowerCase()]].flat().at(-1)?.split(',').at(-1)?.trim();
    const network = networkOf((said || address).replace(/^::ffff:/i, ''));
    return isLoopback(network) ? null : network;
  }

  private here(minerIds: Iterable<string> = []): Set<string> {
    return new Set([...minerIds].filter((id) => this.parts.isHere(id)));
  }

  private clear(): void {
    for (const [address, minerIds] of this.miners) if (this.here(minerIds).size === 0) this.miners.delete(address);
    this.cleared = Math.max(this.cleared, this.miners.size);
  }
}

const isLoopback = (address: string) => address.startsWith('127.') || address === networkOf('::1');

/** A household or a machine gets 2^64 addresses of IPv6 at least: its network, the first half, is what counts. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('%')[0]!.split('::');
  const [before, after] = [head, tail ?? ''].map((part) => part.split(':').filter(Boolean)) as [string[], string[]];
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...new Array<string>(Math.max(0, zeros)).fill('0'), ...after];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}/64`;
}
