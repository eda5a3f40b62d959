/** `npm run simulate`: many seeds on all cores, the failing ones once more and in detail. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { SwarmError } from '@starling/protocol';
import { faultTable } from './fault-table.ts';
import { type Command, HELP, parseCommand } from './options.ts';
import { add, faultsOf, noTally, type Tally } from './tally.ts';
import { type Result, World } from './world.ts';

/** Events shown of a seed that failed. */
const LAST_EVENTS = 60;
const MORE_FAILURES_ARE_NO_NEWS = 5;

/** Runs all seeds, each worker taking the next as it finishes one. */
async function runSeeds({ from, seeds, jobs, world }: Command, onResult: (tally: Tally) => void): Promise<Tally> {
  const tally = noTally();
  let next = from;
  const runOne = async () => {
    const worker = new Worker(new URL('./seed-worker.ts', import.meta.url), { workerData: world });
    try {
      while (next < from + seeds && tally.failures.length < MORE_FAILURES_ARE_NO_NEWS) {
        worker.postMessage(next++);
        const [result] = (await once(worker, 'message')) as [Result];
        add(tally, result);
        onResult(tally);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, seeds) }, runOne));
  return tally;
}

async function showAgain(seed: number, world: Command['world']): Promise<void> {
  const lines: string[] = [];
  const { problem } = await new World(seed, { ...world, trace: (line) => lines.push(line) }).run();
  console.log(`\nSeed ${seed}, its last events:`);
  for (const line of lines.slice(-LAST_EVENTS)) console.log(`  ${line.slice(0, 300)}`);
  console.log(`  → ${problem ?? 'this time it went well: something in it is not deterministic'}`);
}

function summary(tally: Tally, seconds: number): string[] {
  const faults = faultsOf(tally);
  const share = tally.computed > 0 ? (100 * tally.counted) / tally.computed : 0;
  return [
    `${tally.seeds} seeds, ${tally.inputs} inputs, ${faults} faults, ${tally.failures.length} broken, in ${seconds.toFixed(0)} s`,
    `${Object.entries(tally.faults)
      .toSorted(([, a], [, b]) => b - a)
      .map(([fault, count]) => `${fault} ${count}`)
      .join(', ')}`,
    `${share.toFixed(1)} % of ${tally.computed} computed leases counted; ${(tally.tookMs / 60_000).toFixed(0)} virtual minutes of training`,
  ];
}

try {
  const command = parseCommand(process.argv.slice(2), availableParallelism());
  if (command === 'help') {
    console.log(HELP);
  } else if (command.table) {
    const { markdown, broken } = await faultTable();
    console.log(markdown);
    for (const line of broken) console.error(line);
    process.exitCode = broken.length > 0 ? 1 : 0;
  } else if (command.trace) {
    const result = await new World(command.from, { ...command.world, trace: (line) => console.log(line) }).run();
    console.log(result.problem ? `Seed ${command.from}: ${result.problem}` : `Seed ${command.from} holds.`);
    process.exitCode = result.problem ? 1 : 0;
  } else {
    const started = performance.now();
    let shown = started;
    const tally = await runSeeds(command, ({ seeds, failures }) => {
      if (performance.now() - shown < 10_000) return;
      shown = performance.now();
      console.log(`${seeds} of ${command.seeds} seeds, ${failures.length} broken`);
    });
    const seconds = (performance.now() - started) / 1000;
    for (const line of summary(tally, seconds)) console.log(line);
    for (const { seed, problem } of tally.failures) console.log(`Seed ${seed}: ${problem}`);
    if (command.json) writeFileSync(command.json, `${JSON.stringify({ ...tally, seconds, world: command.world }, null, 2)}\n`);
    const [first] = tally.failures;
    if (first) await showAgain(first.seed, command.world);
    process.exitCode = first ? 1 : 0;
  }
} catch (error) {
  const fault = SwarmError.from(error);
  console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
  if (fault.code === 'INTERNAL') console.error(fault.cause);
  process.exitCode = fault.code === 'CONFIG_INVALID' ? 2 : 1;
}
