export { ATTACKS, type Attack, type Scene } from './attacks.ts';
export { type Claims, evidenceOf } from './claims.ts';
export { type Compute, Rehearsal, type RehearsalOptions } from './rehearsal.ts';
export { ruledText } from './text.ts';
