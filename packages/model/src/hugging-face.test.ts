/**
 * What `LlamaForCausalLM` computes, written down from its definition and fed from the files alone: names, shapes and the order
 * of heads must be what that loader expects, or the logits differ.
 */
import { randomNumbers, randomTokens } from '@starling/kernels/testing';
import type { ModelShape } from '@starling/protocol';
import { expect, test } from 'vitest';
import { Decoder } from './decoder.ts';
import { huggingFaceFiles, type ModelFile } from './hugging-face.ts';
import { layoutOf } from './layout.ts';
import { cutStages } from './presets.ts';

const SHAPE: ModelShape = { vocabulary: 256, width: 24, layers: 2, heads: 6, keyValueHeads: 2, hidden: 10, context: 7 };
/** Keys and values are cached in float32. */
const TOLERANCE = 1e-6;
const ORIGIN = { runId: 'a-run', version: 40, loss: 2.5 };

type Matrix = { shape: number[]; data: Float32Array };

function filesOf(shape: ModelShape, parameters: Float32Array): Map<string, Uint8Array<ArrayBuffer>> {
  const whole = ({ parts }: ModelFile) => new Uint8Array(Buffer.concat(parts));
  return new Map(huggingFaceFiles({ shape, parameters }, ORIGIN).map((file) => [file.name, whole(file)]));
}

const textOf = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes));

/** As the format's description says: header length, header, bytes. */
function readSafetensors(bytes: Uint8Array<ArrayBuffer>): Map<string, Matrix> {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  expect(length % 8, 'tensors are aligned').toBe(0);
  const { __metadata__, ...tensors } = textOf(bytes.subarray(8, 8 + length));
  expect(__metadata__).toEqual({ format: 'pt', run: 'a-run', step: '40' });
  let end = 0;
  const read = Object.entries(tensors as Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      expect([dtype, from, to - from]).toEqual(['F32', end, 4 * shape.reduce((n, size) => n * size, 1)]);
      end = to;
      const data = new Float32Array(bytes.slice(8 + length + from, 8 + length + to).buffer);
      return [name, { shape, data }] as const;
    },
  );
  expect(bytes.length).toBe(8 + length + end);
  return new Map(read);
}

/** torch.nn.Linear without bias: y = x · Wᵀ, W `[out,in]`. */
const linear = ({ shape: [out, width], data }: Matrix, x: number[]) =>
  Array.from({ length: out! }, (_, row) => x.reduce((sum, value, i) => sum + value * data[row * width! + i]!, 0));

const rmsNorm = ({ data }: Matrix, x: number[], epsilon: number) => {
  const inverse = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + epsilon);
  return x.map((value, i) => data[i]! * (value * inverse));
};

/** `apply_rotary_pos_emb` on one head: x · cos + rotate_half(x) · sin, both tables written twice side by side. */
function rotary(head: number[], position: number, theta: number): number[] {
  const half = head.length / 2;
  const frequency = (i: number) => position * theta ** ((-2 * (i % half)) / head.length);
  const rotateHalf = [...head.slice(half).map((value) => -value), ...head.slice(0, half)];
  return head.map((value, i) => value * Math.cos(frequency(i)) + rotateHalf[i]! * Math.sin(frequency(i)));
}

function logitsOf(tensors: Map<string, Matrix>, config: Record<string, number>, tokens: Int32Array): number[][] {
  const of = (name: string) => tensors.get(name) ?? expect.fail(`${name} is missing`);
  const {
    hidden_size: width,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    head_dim: size,
  } = config as Record<string, number>;
  const table = of('model.embed_tokens.weight');
  let states = Array.from(tokens, (token) => [...table.data.subarray(token * width!, (token + 1) * width!)]);
  const plus = (a: number[], b: number[]) => a.map((value, i) => value + b[i]!);
  for (let layer = 0; layer < config.num_hidden_layers!; layer++) {
    const at = (name: string) => of(`model.layers.${layer}.${name}.weight`);
    const entered = states.map((x) => rmsNorm(at('input_layernorm'), x, config.rms_norm_eps!));
    const headsOf = (name: string, count: number, turn: boolean) =>
      entered.map((x, position) => {
        const all = linear(at(`self_attn.${name}`), x);
        return Array.from({ length: count }, (_, head) => {
          const own = all.slice(head * size!, (head + 1) * size!);
          return turn ? rotary(own, position, config.rope_theta!) : own;
        });
      });
    const query = headsOf('q_proj', heads!, true);
    const key = headsOf('k_proj', keyHeads!, true);
    const value = headsOf('v_proj', keyHeads!, false);
    states = states.map((x, position) => {
      const attended = query[position]!.flatMap((own, head) => {
        const shared = Math.floor(head / (heads! / keyHeads!)); // repeat_kv
        const scores = key.slice(0, position + 1).map((all) => all[shared]!.reduce((sum, k, i) => sum + k * own[i]!, 0) / Math.sqrt(size!));
        const weights = scores.map((score) => Math.exp(score - Math.max(...scores)));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        return own.map((_, i) => weights.reduce((sum, weight, past) => sum + (weight / total) * value[past]![shared]![i]!, 0));
      });
      const middle = plus(x, linear(at('self_attn.o_proj'), attended));
      const normed = rmsNorm(at('post_attention_layernorm'), middle, config.rms_norm_eps!);
      const up = linear(at('mlp.up_proj'), normed);
      const gated = linear(at('mlp.gate_proj'), normed).map((gate, i) => (gate / (1 + Math.exp(-gate))) * up[i]!);
      return plus(middle, linear(at('mlp.down_proj'), gated));
    });
  }
  return states.map((x) => linear(of('lm_head.weight'), rmsNorm(of('model.norm.weight'), x, config.rms_norm_eps!)));
}

test('the files hold the model: the forward they define gives our logits', () => {
  const parameters = randomNumbers(layoutOf(SHAPE, cutStages(SHAPE, 1)[0]!).size, 17, 0.4);
  const files = filesOf(SHAPE, parameters);
  const tensors = readSafetensors(files.get('model.safetensors')!);
  const config = textOf(files.get('config.json')!);
  expect(config).toMatchObject({
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    tie_word_embeddings: false,
    hidden_act: 'silu',
  });
  const tokens = randomTokens(SHAPE.context, 3, SHAPE.vocabulary);
  const decoder = new Decoder({ shape: SHAPE, parameters });
  const ours = [...tokens].flatMap((token) => [...decoder.next(token)]);
  const theirs = logitsOf(tensors, config, tokens).flat();
  expect(theirs).toHaveLength(ours.length);
  expect(Math.max(...theirs.map((logit, i) => Math.abs(logit - ours[i]!)))).toBeLessThan(TOLERANCE);
  expect(tensors.size, 'nothing but what was read').toBe(3 + 9 * SHAPE.layers);
});

test('the tokenizer maps every byte to its own number, in the alphabet of byte-level BPE', () => {
  const files = filesOf(SHAPE, new Float32Array(layoutOf(SHAPE, cutStages(SHAPE, 1)[0]!).size));
  const { model, pre_tokenizer, decoder } = textOf(files.get('tokenizer.json')!);
  expect([pre_tokenizer.type, decoder.type, model.type, model.merges]).toEqual(['ByteLevel', 'ByteLevel', 'BPE', []]);
  expect(Object.values(model.vocab).sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 256 }, (_, byte) => byte));
  // GPT-2's own: a space is Ġ, a new line Ċ, é is Ã©.
  expect([model.vocab.a, model.vocab.Ġ, model.vocab.Ċ, model.vocab.Ã, model.vocab['©']]).toEqual([0x61, 0x20, 0x0a, 0xc3, 0xa9]);
});
