export { type Crossing, crossingOf } from './crossing.ts';
export { type Bytes, QUANTISERS, type Quantiser, type QuantiserName, type Vector } from './quantise.ts';
