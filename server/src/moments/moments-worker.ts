/** Handles a run's log again, in a thread of its own, up to the moment that is asked for. It reads only. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Effect, Input } from '@starling/coordinator';
import { layoutOf } from '@starling/model';
import { type Moment, type MomentRange, SwarmError, type WireError } from '@starling/protocol';
import { openReader, type Reader, type Replayed, replay } from '@starling/store';
import { movesOf } from '../moves.ts';
import { curveBy, eventsBy } from '../records.ts';
import { type Machine, maker } from '../run-log.ts';
import { RunView } from '../view.ts';
import { NewestMoves } from './newest-moves.ts';

export type MomentRequest = { id: number } & ({ type: 'range' } | { type: 'moment'; seq: number });
/** `json`: a range or a moment, which the server's own thread only passes on. */
export type MomentAnswer = { id: number } & ({ json: string } | { error: WireError });

const { store } = workerData as { store: string };
/** Rates are over the half minute before. */
const RATE_MS = 30_000;

let opened: Promise<Reader> | null = null;
const reader = () => {
  opened ??= openReader(store);
  opened.catch(() => {
    opened = null;
  });
  return opened;
};

/** What moved is told for so many entries at least, though a snapshot lies between. */
const MOVES_WITHIN = 200;
/** Who was shown a moment no more entries before is told all that moved since. */
const MOVES_ON = 20_000;

/** On the way to a moment. */
interface Seen {
  /** Of the last `RATE_MS`, as far as they were read. */
  work: { at: number; minerId: string; tokens: number }[];
  moves: NewestMoves;
}

/** Where the last moment was: going on from there is cheaper than from a snapshot far before. */
let last: (Seen & { read: Replayed<Machine> }) | null = null;

async function range(): Promise<MomentRange> {
  const log = await reader();
  const newest = await log.lastSeq();
  const [first] = await log.entries(0, 1);
  const [end] = await log.entries(newest - 1, 1);
  if (!first || !end) throw new SwarmError('NOT_FOUND', 'The log of this run is empty.');
  return { first: { seq: first.seq, at: first.at }, last: { seq: end.seq, at: end.at } };
}

/** The run after an entry, read on `from` where it is, or from the newest snapshot; null for an empty log. Adds to what was seen. */
async function readTo(seq: number, from: Replayed<Machine> | null, { work, moves }: Seen): Promise<Replayed<Machine> | null> {
  return replay<Input, Effect, Machine>(await reader(), maker, {
    through: seq,
    from,
    // It shows what was, and carries nothing out: the page tells where it may have been otherwise.
    anyRules: true,
    watch: ({ seq, input, effects, machine: { now, genesis } }) => {
      const { sequences, model } = genesis.run;
      for (const effect of effects) {
        if (effect.type === 'settled' && effect.work.kind === 'backward' && effect.outcome === 'counted')
          work.push({ at: now, minerId: effect.minerId, tokens: sequences * model.context });
      }
      while (work[0] && work[0].at < now - RATE_MS) work.shift();
      for (const move of movesOf(input, effects)) moves.add(move, seq);
    },
  });
}

async function moment(seq: number): Promise<Moment> {
  const log = await reader();
  const newest = await log.lastSeq();
  if (seq > newest) throw new SwarmError('NOT_FOUND', `The log ends at entry ${newest}.`);
  const snapshot = await log.snapshot(seq);
  const before = last && last.read.seq <= seq ? last : null;
  last = null; // half read, should this fail
  const from = before && before.read.seq >= (snapshot?.seq ?? 0) ? before : null;
  const near = before && before.read.seq >= seq - MOVES_ON ? before : null;
  const seen: Seen = from ?? near ?? { work: [], moves: new NewestMoves() };
  const start = Math.max(1, seq - MOVES_WITHIN);
  // A snapshot tells nothing of what moved before it; nor can what cannot be read any more.
  if (!from && snapshot && (near || snapshot.seq > start))
    await Promise.resolve(near ? near.read : readTo(start, null, seen))
      .then((lead) => readTo(snapshot.seq, lead, seen))
      .catch(() => {});
  const read = await readTo(seq, from?.read ?? null, seen);
  if (!read) throw new SwarmError('NOT_FOUND', 'The log of this run is empty.');
  const { work, moves } = seen;
  last = { read, work, moves };
  const { machine, otherRules } = read;
  const { run } = machine.genesis;
  const [first] = await log.entries(0, 1);
  const sizes = run.stages.map((stage) => layoutOf(run.model, stage).size);
  const step = Math.min(...run.stages.map((_, stage) => machine.coordinator.versionOf(stage)));
  const points = await curveBy(log, machine.now, step);
  const events = await eventsBy(log, machine.now);
  const view = new RunView(run, machine.coordinator, sizes, { points, events, startedAt: first!.at });
  const rates = new Map<string, number>();
  for (const { minerId, tokens } of work) rates.set(minerId, (rates.get(minerId) ?? 0) + tokens / (RATE_MS / 1_000));
  const snapshotOf = view.snapshot(machine.now);
  for (const { miners, index } of snapshotOf.stages) {
    for (const miner of miners) {
      miner.tokensPerSecond = rates.get(miner.id) ?? 0;
      // What it was doing at that very moment no log says: whether it had work, it does.
      miner.activity = !miner.connected
        ? 'stopped'
        : miner.leases > 0
          ? index === run.stages.length - 1
            ? 'backward'
            : 'forward'
          : 'waiting';
      miner.reason = null;
    }
  }
  // Every token that is trained on comes by the last stage.
  snapshotOf.tokensPerSecond = snapshotOf.stages.at(-1)!.miners.reduce((sum, miner) => sum + miner.tokensPerSecond, 0);
  return {
    ...{ seq: read.seq, at: machine.now, run: snapshotOf, points, events },
    moves: moves.among(new Set(snapshotOf.stages.flatMap(({ miners }) => miners.map(({ id }) => id)))),
    otherRules: otherRules && { written: otherRules.rules, shown: maker.rules },
  };
}

let queue: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: MomentRequest) => {
  queue = queue.then(async () => {
    const { id } = request;
    try {
      const answer = request.type === 'range' ? await range() : await moment(request.seq);
      parentPort!.postMessage({ id, json: JSON.stringify(answer) } satisfies MomentAnswer);
    } catch (error) {
      parentPort!.postMessage({ id, error: SwarmError.from(error).toWire() } satisfies MomentAnswer);
    }
  });
});
