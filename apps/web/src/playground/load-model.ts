/** The parameters of the whole model at one version. */
import { cutStages, initialParameters, layoutOf } from '@starling/model';
import { decodeFrame, SwarmError, type WireError } from '@starling/protocol';
import type { Wanted } from './messages.ts';

/**
 * The flat vector of the uncut model: the stages' one after the other, each checked against its own hash.
 * Throws the server's refusal, `CONNECTION_LOST`, `FRAME_HASH_MISMATCH` or `TENSOR_SHAPE`.
 */
export async function loadModel({ run, version }: Wanted, onShare: (share: number) => void): Promise<Float32Array<ArrayBuffer>> {
  const [whole] = cutStages(run.model, 1);
  if (version === 0) return initialParameters(run.model, whole!, run.seed);
  const parameters = new Float32Array(layoutOf(run.model, whole!).size);
  let offset = 0;
  for (const { index } of run.stages) {
    onShare(offset / parameters.length);
    const { data } = await decodeFrame(await fetchBytes(`/v1/models/${version}/${index}`));
    if (!(data instanceof Float32Array) || offset + data.length > parameters.length) {
      throw new SwarmError('TENSOR_SHAPE', `Stage ${index} of step ${version} is not what this run’s model needs.`);
    }
    parameters.set(data, offset);
    offset += data.length;
  }
  if (offset !== parameters.length) {
    throw new SwarmError('TENSOR_SHAPE', `The model has ${parameters.length} parameters, and ${offset} came.`);
  }
  return parameters;
}

async function fetchBytes(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(path, { cache: 'no-store' }).catch((cause: unknown) => {
    throw new SwarmError('CONNECTION_LOST', 'The server cannot be reached.', { cause });
  });
  if (response.ok) return new Uint8Array(await response.arrayBuffer());
  const body = (await response.json().catch(() => null)) as { error?: WireError } | null;
  throw body?.error ? SwarmError.fromWire(body.error) : new SwarmError('HTTP_FAILED', `The server answered ${response.status}.`);
}
