export { type Crossing, crossingOf } from './crossing.ts';
export { BOUNDARY_NAMES, type Boundary, boundaryName, parseBoundary } from './name.ts';
export { type Bytes, QUANTISERS, type Quantiser, type QuantiserName, type Vector } from './quantise.ts';
