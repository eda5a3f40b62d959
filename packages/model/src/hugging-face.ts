/**
 * The model as a folder that Hugging Face's `LlamaForCausalLM.from_pretrained` takes: safetensors, configuration and a
 * byte-level tokenizer. Formats: https://github.com/huggingface/safetensors#format, and the `tokenizers` library's JSON.
 */
import { NORM_EPSILON, ROTARY_BASE } from '@starling/kernels/constants';
import type { ModelShape } from '@starling/protocol';
import { layoutOf, type ParameterEntry } from './layout.ts';
import { type Model, plainModel } from './plain.ts';
import { cutStages } from './presets.ts';

export interface ModelFile {
  name: string;
  parts: Uint8Array<ArrayBuffer>[];
}

/** What the model card says. */
export interface ModelOrigin {
  runId: string;
  /** Step after which these are the parameters. */
  version: number;
  /** Training loss of that step in nats per token; null when not known. */
  loss: number | null;
}

const LAYER_NAMES: Record<string, string> = {
  'attention.norm': 'input_layernorm',
  'attention.query': 'self_attn.q_proj',
  'attention.key': 'self_attn.k_proj',
  'attention.value': 'self_attn.v_proj',
  'attention.output': 'self_attn.o_proj',
  'feedForward.norm': 'post_attention_layernorm',
  'feedForward.gate': 'mlp.gate_proj',
  'feedForward.up': 'mlp.up_proj',
  'feedForward.down': 'mlp.down_proj',
};

/** `layers.3.attention.query` → `model.layers.3.self_attn.q_proj.weight` */
function nameOf(name: string): string {
  if (name === 'embedding') return 'model.embed_tokens.weight';
  if (name === 'norm') return 'model.norm.weight';
  if (name === 'head') return 'lm_head.weight';
  const [, layer, part] = /^layers\.(\d+)\.(.+)$/.exec(name)!;
  return `model.layers.${layer}.${LAYER_NAMES[part!]}.weight`;
}

/**
 * All files. Ours is `x · W [in,out]`, PyTorch's Linear keeps `[out,in]`. Heads need no permutation: both rotate the two
 * halves of a head against each other, unlike Meta's own files, whose pairs lie side by side.
 * Throws as `plainModel`.
 */
export function huggingFaceFiles(model: Model, origin: ModelOrigin): ModelFile[] {
  const { shape, parameters } = plainModel(model);
  const { entries } = layoutOf(shape, cutStages(shape, 1)[0]!);
  return [
    { name: 'model.safetensors', parts: safetensors(entries, parameters, origin) },
    json('config.json', configOf(shape)),
    json('generation_config.json', { _from_model_config: true, do_sample: true }),
    json('tokenizer.json', byteTokenizer()),
    json('tokenizer_config.json', {
      tokenizer_class: 'PreTrainedTokenizerFast',
      model_max_length: shape.context,
      clean_up_tokenization_spaces: false,
    }),
    { name: 'README.md', parts: [bytesOf(modelCard(shape, origin))] },
  ];
}

const bytesOf = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const json = (name: string, value: unknown): ModelFile => ({ name, parts: [bytesOf(`${JSON.stringify(value, null, 2)}\n`)] });

/** Header length (uint64, little-endian), header (padded with spaces to eight bytes), then the tensors' bytes. */
function safetensors(entries: readonly ParameterEntry[], parameters: Float32Array, origin: ModelOrigin): Uint8Array<ArrayBuffer>[] {
  const header: Record<string, unknown> = {
    __metadata__: { format: 'pt', run: origin.runId, step: String(origin.version) },
  };
  let offset = 0;
  const tensors = entries.map((entry) => {
    const { name, shape, size } = entry;
    // A lookup table's rows are the tokens' in both.
    const turned = shape.length === 2 && name !== 'embedding';
    header[nameOf(name)] = { dtype: 'F32', shape: turned ? [...shape].reverse() : shape, data_offsets: [offset, offset + 4 * size] };
    offset += 4 * size;
    const values = parameters.subarray(entry.offset, entry.offset + size);
    // Little-endian, as every engine's arrays are.
    return new Uint8Array((turned ? transposed(values, shape[0]!, shape[1]!) : values.slice()).buffer as ArrayBuffer);
  });
  const text = bytesOf(JSON.stringify(header));
  const head = new Uint8Array(8 + 8 * Math.ceil(text.length / 8)).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(text, 8);
  return [head, ...tensors];
}

function transposed(matrix: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  const turned = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) turned[column * rows + row] = matrix[row * columns + column]!;
  }
  return turned;
}

function configOf({ vocabulary, width, layers, heads, keyValueHeads, hidden, context }: ModelShape) {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: vocabulary,
    hidden_size: width,
    intermediate_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: width / heads,
    hidden_act: 'silu',
    max_position_embeddings: context,
    rms_norm_eps: NORM_EPSILON,
    rope_theta: ROTARY_BASE,
    rope_scaling: null,
    attention_bias: false,
    attention_dropout: 0,
    mlp_bias: false,
    tie_word_embeddings: false,
    bos_token_id: null,
    eos_token_id: null,
    pad_token_id: null,
    initializer_range: 0.02,
    use_cache: true,
    torch_dtype: 'float32',
  };
}

/**
 * A token is a byte. Byte-level BPE (GPT-2's) without a merge: its alphabet writes the 256 bytes as printable characters,
 * those that are printable as themselves, the others from U+0100 on, in order.
 */
function byteTokenizer() {
  const printable = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  const vocab = Object.fromEntries(
    Array.from({ length: 256 }, (_, byte) => [String.fromCodePoint(printable(byte) ? byte : next++), byte] as const),
  );
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: [],
    },
  };
}

function modelCard({ layers, width, context }: ModelShape, { runId, version, loss }: ModelOrigin): string {
  return `# Starling, run ${runId}, step ${version}

A Llama-style model of ${layers} layers, width ${width} and context ${context} over bytes, trained by a swarm of browser tabs${loss === null ? '' : `; training loss ${loss.toFixed(4)} nats per byte`}.

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
print(tokenizer.decode(model.generate(ids, max_new_tokens=${Math.max(8, context - 16)}, do_sample=True)[0]))
\`\`\`
`;
}
