/** Blobs over HTTP. What fails for want of a connection is tried again; what the server refuses is thrown. */
import { SwarmError, sha256Hex, type WireError } from '@starling/protocol';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

export class BlobClient {
  private readonly url: string;
  private readonly onTrouble: (error: SwarmError) => void;
  /** `Authorization` for uploads. */
  authorization = '';

  constructor(url: string, onTrouble: (error: SwarmError) => void) {
    this.url = url;
    this.onTrouble = onTrouble;
  }

  /** The blob's bytes, checked against their name. Throws `BLOB_NOT_FOUND`, or the signal's reason. */
  async get(hash: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    return this.retry(signal, async () => {
      const response = await fetch(`${this.url}/v1/blobs/${hash}`, { signal });
      await throwRefusal(response);
      const bytes = new Uint8Array(await response.arrayBuffer());
      if ((await sha256Hex(bytes)) !== hash)
        throw new TypeError(`The ${bytes.byteLength} bytes received do not hash to ${hash.slice(0, 12)}….`);
      return bytes;
    });
  }

  /** Uploads bytes and returns their name, which is computed where it is not known. */
  async put(bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal, known?: string): Promise<string> {
    const hash = known ?? (await sha256Hex(bytes));
    await this.retry(signal, async () => {
      const headers = { authorization: this.authorization, 'content-type': 'application/octet-stream' };
      await throwRefusal(await fetch(`${this.url}/v1/blobs/${hash}`, { method: 'PUT', body: bytes, headers, signal }));
    });
    return hash;
  }

  private async retry<T>(signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(LONGEST_PAUSE_MS, 2 * pause)) {
      try {
        return await attempt();
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof SwarmError) throw error;
        this.onTrouble(SwarmError.from(error, 'HTTP_FAILED'));
        await new Promise((resolve) => setTimeout(resolve, pause));
        signal.throwIfAborted();
      }
    }
  }
}

/** Throws the server's coded refusal; anything else that is not a success is worth another try. */
async function throwRefusal(response: Response): Promise<void> {
  if (response.ok) return;
  const body = (await response.json().catch(() => null)) as { error?: WireError } | null;
  if (body?.error && response.status < 500) throw SwarmError.fromWire(body.error);
  throw new TypeError(`The server answered ${response.status}.`);
}
