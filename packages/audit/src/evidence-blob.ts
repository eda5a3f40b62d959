/**
 * Evidence as bytes, for a validator elsewhere: length of the head (uint32 little-endian), head (JSON), and the tensors as frames one
 * after the other, in the order in which the head names them. Parameters travel by themselves: many audits are of one version.
 */
import type { Vector } from '@starling/codecs';
import { decodeFrame, encodeFrame, LEASE_KINDS, parseMessage, SwarmError, type TensorData } from '@starling/protocol';
import * as v from 'valibot';
import type { AnsweredLease, Evidence } from './evidence.ts';

const TENSORS = ['input', 'tokens', 'upstream', 'output'] as const;

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const text = v.pipe(v.string(), v.maxLength(100));
const Head = v.object({
  stage: count,
  parameterHash: text,
  leases: v.array(
    v.object({
      leaseId: text,
      kind: v.picklist(LEASE_KINDS),
      microbatch: count,
      inSum: v.boolean(),
      said: v.object({ inputHash: text, outputHash: v.nullable(text), lossSum: v.nullable(v.number()) }),
      /** Bytes of each of `TENSORS`; 0: it has none. */
      sizes: v.pipe(v.array(count), v.length(TENSORS.length)),
    }),
  ),
  /** Bytes; 0: there is none. */
  gradient: count,
});
type Head = v.InferOutput<typeof Head>;

export type PortableEvidence = Omit<Evidence, 'parameters'>;

export async function encodeEvidence({ stage, parameterHash, leases, gradient }: PortableEvidence): Promise<Uint8Array<ArrayBuffer>> {
  const frames: Uint8Array[] = [];
  const add = async (tensor: TensorData | null) => {
    if (!tensor) return 0;
    const frame = await encodeFrame(tensor, [tensor.length]);
    frames.push(frame);
    return frame.byteLength;
  };
  const head: Head = { stage, parameterHash, leases: [], gradient: 0 };
  for (const { leaseId, kind, microbatch, inSum, said, ...lease } of leases) {
    const { inputHash, outputHash, lossSum } = said;
    const sizes: number[] = [];
    for (const name of TENSORS) sizes.push(await add(lease[name]));
    head.leases.push({ leaseId, kind, microbatch, inSum, said: { inputHash, outputHash, lossSum }, sizes });
  }
  head.gradient = await add(gradient);
  const json = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(4 + json.length + frames.reduce((sum, { byteLength }) => sum + byteLength, 0));
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, 4);
  let at = 4 + json.length;
  for (const frame of frames) {
    bytes.set(frame, at);
    at += frame.byteLength;
  }
  return bytes;
}

/** Throws `BAD_MESSAGE`, `FRAME_MALFORMED` or `FRAME_HASH_MISMATCH`. */
export async function decodeEvidence(bytes: Uint8Array): Promise<PortableEvidence> {
  const length = bytes.byteLength >= 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : 0;
  const { leases: heads, gradient, ...rest } = parseMessage('evidence', Head, jsonOf(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  const next = async (size: number): Promise<TensorData | null> => {
    if (size === 0) return null;
    const { data } = await decodeFrame(bytes.subarray(at, at + size));
    at += size;
    return data;
  };
  const leases: AnsweredLease[] = [];
  for (const { sizes, ...lease } of heads) {
    const [input, tokens, upstream, output] = [await next(sizes[0]!), await next(sizes[1]!), await next(sizes[2]!), await next(sizes[3]!)];
    if (!input) throw new SwarmError('BAD_MESSAGE', `The evidence has no input of lease ${lease.leaseId}.`);
    leases.push({ ...lease, input, tokens, upstream, output });
  }
  const sum = await next(gradient);
  if (sum && !(sum instanceof Float32Array)) throw new SwarmError('BAD_MESSAGE', 'A gradient is float32.');
  return { ...rest, leases, gradient: sum as Vector | null };
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new SwarmError('BAD_MESSAGE', 'The head of the evidence is no JSON.');
  }
}
