/** Session tokens: the server's secret signs the miner's id, so that a resumed server knows its miners without a table. */
import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SwarmError } from '@starling/protocol';

const SECRET_BYTES = 32;

export class Identity {
  private readonly secret: Buffer;

  private constructor(secret: Buffer) {
    this.secret = secret;
  }

  /** Reads the secret of this data folder, or makes one. */
  static async open(dataDir: string): Promise<Identity> {
    const path = join(dataDir, 'secret');
    await mkdir(dataDir, { recursive: true });
    const stored = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return null;
    });
    // One cut short by a crash or a full disk would make tokens anybody can guess; the miners of before just join anew.
    if (stored?.length === SECRET_BYTES) return new Identity(stored);
    const secret = randomBytes(SECRET_BYTES);
    await writeFile(path, secret, { mode: 0o600 });
    return new Identity(secret);
  }

  newMiner(): { minerId: string; token: string } {
    const minerId = `m-${randomUUID().slice(0, 13)}`;
    return { minerId, token: this.token(minerId) };
  }

  /** 32 bytes that only this data folder can make: the seed of a key, one for each purpose. */
  seed(purpose: string): Uint8Array {
    return new Uint8Array(createHmac('sha256', this.secret).update(`key ${purpose}`).digest());
  }

  /** A name of the server that no other one has, and that outlasts its process. */
  get serverName(): string {
    return `starling-${createHmac('sha256', this.secret).update('name').digest('hex').slice(0, 12)}`;
  }

  /** True when the token is the one this server gave to `minerId`. */
  knows(minerId: string, token: string): boolean {
    const expected = Buffer.from(this.token(minerId));
    const given = Buffer.from(token);
    return expected.length === given.length && timingSafeEqual(expected, given);
  }

  /** The miner named by `Authorization: Bearer <minerId>.<token>`. Throws `UNAUTHORIZED`. */
  fromHeader(header: string | undefined): string {
    const [, minerId, token] = /^Bearer (m-[0-9a-f-]+)\.([0-9a-f]+)$/.exec(header ?? '') ?? [];
    if (!minerId || !token || !this.knows(minerId, token))
      throw new SwarmError('UNAUTHORIZED', 'This upload carries no valid miner token.');
    return minerId;
  }

  private token(minerId: string): string {
    return createHmac('sha256', this.secret).update(minerId).digest('hex');
  }
}
