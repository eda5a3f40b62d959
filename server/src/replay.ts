/** `npm run replay`: the state of a run at any point of its log, also while its server runs. */
import { hash } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Effect, Input } from '@starling/coordinator';
import { SwarmError } from '@starling/protocol';
import { openReader, type Reader, type Replayed, replay } from '@starling/store';
import { DEFAULT_OPTIONS, wholeNumber } from './options.ts';
import { type Machine, maker } from './run-log.ts';

const HELP = `Usage: npm run replay -- [options]

Handles the inputs of a run's log again, without carrying anything out. It reads only, so the server may go on meanwhile.

  --data DIR     folder of the run (${DEFAULT_OPTIONS.dataDir})
  --store WHERE  the log, if it is not in that folder: a file, or postgres://user@host/database?run=NAME
  --at N         print the whole state after entry N, as JSON
  --inputs A:B   print entries A to B, a line each
  --help         this text

Without --at and --inputs: what is in the log, and whether its snapshots and its whole give the same state. What a release with other
rules wrote is handled by the rules of this one, and said: its state may have been another.
`;

const stateAt = (reader: Reader, through: number, snapshots = true) =>
  replay<Input, Effect, Machine>(reader, maker, { through, snapshots, anyRules: true });

const noteOf = ({ seq, rules }: NonNullable<Replayed<Machine>['otherRules']>) =>
  `Up to entry ${seq} it is of rules ${rules}; handled by rules ${maker.rules} it may give another state than it had.`;

const textOf = (machine: Machine) => JSON.stringify(machine.snapshot());
const hashOf = (text: string) => hash('sha256', text);
const clock = (at: number) => new Date(at).toISOString().replace('T', ' ').slice(0, 19);

async function printState(reader: Reader, through: number): Promise<void> {
  const found = await stateAt(reader, through);
  if (!found) throw new SwarmError('LOG_UNREADABLE', `${reader.name} is empty.`);
  if (found.seq < through) throw new SwarmError('CONFIG_INVALID', `--at ${through}: the log ends at entry ${found.seq}.`);
  if (found.otherRules) console.error(`warning: ${noteOf(found.otherRules)}`);
  const text = textOf(found.machine);
  console.log(JSON.stringify({ seq: found.seq, time: found.machine.now, hash: hashOf(text), state: JSON.parse(text) }, null, 2));
}

async function printInputs(reader: Reader, range: string): Promise<void> {
  const [, from, to] = /^(\d+):(\d+)$/.exec(range) ?? [];
  if (!from || !to) throw new SwarmError('CONFIG_INVALID', `--inputs needs two numbers such as 100:200, not "${range}".`);
  for (let after = Number(from) - 1; after < Number(to); ) {
    const page = await reader.entries(after, Math.min(1_000, Number(to) - after));
    if (page.length === 0) return;
    for (const { seq, at, body } of page) console.log(`${seq}  ${clock(at)}  ${body}`);
    after = page.at(-1)!.seq;
  }
}

/** Exit status 1 when the log does not give one state. */
async function check(reader: Reader): Promise<number> {
  const last = await reader.lastSeq();
  const whole = await stateAt(reader, last, false);
  if (!whole) throw new SwarmError('LOG_UNREADABLE', `${reader.name} is empty.`);
  const resumed = (await stateAt(reader, whole.seq))!;
  // Where rules changed a snapshot knows what the whole log does not tell any more.
  const { coordinator, genesis } = (whole.otherRules ? resumed : whole).machine;
  const [first] = await reader.entries(0, 1);
  console.log(`Run ${genesis.run.runId}: ${genesis.run.preset} in ${genesis.run.stages.length} stages, in ${reader.name}`);
  console.log(`Entries 1 to ${whole.seq}, ${clock(first!.at)} to ${clock(coordinator.now)} UTC`);
  console.log(
    `Versions of the stages: ${coordinator
      .view()
      .map(({ stage }) => stage.version)
      .join(', ')}`,
  );
  console.log(`Counters: ${JSON.stringify(coordinator.counters)}`);
  if (whole.otherRules) {
    console.log(noteOf(whole.otherRules));
    if (resumed.otherRules) return 1;
    console.log(
      `State after entry ${resumed.seq}, from the snapshot at entry ${resumed.snapshotSeq}: SHA-256 ${hashOf(textOf(resumed.machine))}`,
    );
    return 0;
  }
  const text = textOf(whole.machine);
  console.log(`State after entry ${whole.seq}: SHA-256 ${hashOf(text)}`);
  if (!(await reader.snapshot(whole.seq))) {
    console.log('There is no snapshot yet: a restart handles every input again.');
    return 0;
  }
  const same = textOf(resumed.machine) === text;
  console.log(
    same
      ? `The snapshot at entry ${resumed.snapshotSeq} and the ${whole.seq - resumed.snapshotSeq} inputs after it give the same.`
      : `The snapshot at entry ${resumed.snapshotSeq} and what follows it give ANOTHER state.`,
  );
  return same ? 0 : 1;
}

try {
  const string = { type: 'string' } as const;
  let values: { data?: string; store?: string; at?: string; inputs?: string; help?: boolean };
  try {
    const options = { data: string, store: string, at: string, inputs: string, help: { type: 'boolean' } } as const;
    ({ values } = parseArgs({ args: process.argv.slice(2), options }));
  } catch (error) {
    throw SwarmError.from(error, 'CONFIG_INVALID');
  }
  if (values.help) {
    console.log(HELP);
  } else {
    const at = values.at === undefined ? null : wholeNumber('at', values.at, 1);
    const reader = await openReader(values.store ?? join(values.data ?? DEFAULT_OPTIONS.dataDir, 'log.sqlite'));
    try {
      if (values.inputs !== undefined) await printInputs(reader, values.inputs);
      else if (at !== null) await printState(reader, at);
      else process.exitCode = await check(reader);
    } finally {
      await reader.close();
    }
  }
} catch (error) {
  const fault = SwarmError.from(error);
  console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
  if (fault.code === 'INTERNAL') console.error(fault.cause);
  process.exitCode = fault.code === 'CONFIG_INVALID' ? 2 : 1;
}
