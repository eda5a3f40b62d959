export * from './errors.ts';
export * from './frame.ts';
export * from './hash.ts';
export * from './messages.ts';
export * from './rate.ts';
export * from './reasons.ts';
export * from './run.ts';
export * from './version.ts';
