export { CALM, ROUGH, type Schedule, scaled } from './schedule.ts';
export { type Options, type Result, World } from './world.ts';
