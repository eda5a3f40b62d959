/** What a server serves, or its refusal. */
import { SwarmError, type WireError } from '@starling/protocol';

async function get(url: string): Promise<Response> {
  const response = await fetch(url).catch((error: unknown) => {
    throw SwarmError.from(error, 'HTTP_FAILED');
  });
  if (response.ok) return response;
  const { error } = (await response.json().catch(() => ({}))) as { error?: WireError };
  throw error ? SwarmError.fromWire(error) : new SwarmError('HTTP_FAILED', `${url} answered ${response.status}.`);
}

/** Throws the server's refusal, or `HTTP_FAILED`. */
export const getJson = async <T>(url: string): Promise<T> => (await (await get(url)).json()) as T;
export const getBytes = async (url: string): Promise<Uint8Array<ArrayBuffer>> => new Uint8Array(await (await get(url)).arrayBuffer());
