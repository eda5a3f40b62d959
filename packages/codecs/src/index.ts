export { Bottleneck } from './bottleneck.ts';
export { type BoundaryCodec, boundaryCodec, type Maps } from './boundary.ts';
export { type Crossing, crossingOf } from './crossing.ts';
export { orthonormal } from './matrix.ts';
export { type Bytes, QUANTISERS, type Quantiser, type QuantiserName, type Vector } from './quantise.ts';
export { Subspace } from './subspace.ts';
