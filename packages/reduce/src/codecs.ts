import { bf16, type CodecName, f32, type GradientCodec } from './codec.ts';
import { int8 } from './int8.ts';
import { topk2bit } from './topk2bit.ts';

export const CODECS: Readonly<Record<CodecName, GradientCodec>> = { f32, bf16, int8, topk2bit };
