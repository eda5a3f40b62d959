export { type Agreement, AgreementMatrix } from './agreement.ts';
export { Butterfly } from './butterfly.ts';
export { type Bytes, type CodecName, type GradientCodec, LARGEST, type Vector } from './codec.ts';
export { CODECS } from './codecs.ts';
export { seedsOf } from './collecting.ts';
export { ErrorFeedback } from './feedback.ts';
export { GOLDEN_REDUCTION, goldenReduction } from './golden.ts';
export { clipScales, inspectShard, type ReductionFormat, reduceShard } from './reduction.ts';
export { type Formats, ShardedGradient } from './sharded.ts';
export { alignmentOf, cutShards, encodeShards, pairsOf, type Shard, shardCount } from './shards.ts';
export type { ButterflySnapshot, MemberRecord, ShardRecord } from './state.ts';
export type {
  ButterflyConfig,
  ButterflyEffect,
  ButterflyInput,
  ButterflyPhase,
  ReductionTask,
} from './types.ts';
