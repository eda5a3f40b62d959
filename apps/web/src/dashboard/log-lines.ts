/** The lines of the run log: an event each, but steps that are merged faster than anybody reads are one line together. */
import { eventKind, type MergeBytes, type RunEvent } from '@starling/protocol';
import { count } from '../format.ts';

/** Merges that follow each other by less are one line… */
const CLOSE_MS = 1_000;
/** …of so much time on the clock at most, so that a long run of quick steps still has moments to go back to. */
const SPAN_MS = 10_000;

export interface LogLine {
  /** Of this line as it is now: another one when a step was added to it. */
  key: string;
  /** The newest one that it tells of. */
  event: RunEvent;
  text: string;
  /** Of all that it tells of. */
  bytes: MergeBytes | null;
}

/** The newest first. `events`: the oldest first. */
export function linesOf(events: readonly RunEvent[]): LogLine[] {
  const groups: RunEvent[][] = [];
  for (const event of events) {
    const group = groups.at(-1);
    if (group && belongs(event, group.at(-1)!)) group.push(event);
    else groups.push([event]);
  }
  return groups.map(lineOf).reverse();
}

function belongs(event: RunEvent, before: RunEvent): boolean {
  if (!event.merged || !before.merged || eventKind(event) !== 'merge') return false;
  const isClose = event.time - before.time < CLOSE_MS && Math.floor(event.time / SPAN_MS) === Math.floor(before.time / SPAN_MS);
  // A log that was begun anew at an older checkpoint makes some steps twice.
  return isClose && event.merged.step === before.merged.step + 1;
}

function lineOf(group: readonly RunEvent[]): LogLine {
  const event = group.at(-1)!;
  const key = `${event.time} ${event.code} ${event.message} ${group.length}`;
  const bytes = bytesOf(group);
  if (group.length === 1) return { key, event, text: event.message, bytes };
  const steps = group.map(({ merged }) => merged!);
  const [first, last] = [steps[0]!.step, steps.at(-1)!.step];
  const microbatches = steps.reduce((sum, step) => sum + step.microbatches, 0);
  const slowest = Math.max(...steps.map(({ tookMs }) => tookMs));
  const text = `Steps ${first}–${last} made versions ${first + 1}–${last + 1}: ${count(microbatches)} microbatches; merged in ${(slowest / 1_000).toFixed(1)} s at most.`;
  return { key, event, text, bytes };
}

function bytesOf(group: readonly RunEvent[]): MergeBytes | null {
  const parts = group.flatMap(({ merged }) => merged?.bytes ?? []);
  const sum = (way: keyof MergeBytes) => parts.reduce((all, part) => all + part[way], 0);
  return parts.length > 0 ? { uploaded: sum('uploaded'), sent: sum('sent') } : null;
}
