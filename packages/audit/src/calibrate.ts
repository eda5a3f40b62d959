/** `npm run calibrate`: measures on every backend there is, and writes the limits that audits use. */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BOUNDARIES, PRECISIONS, SwarmError } from '@starling/protocol';
import { type CalibrationOptions, calibrate } from './calibration.ts';
import { REPLAY_BACKENDS, ReplayThread } from './node.ts';

const HELP = `Usage: npm run calibrate -- [options]

Measures how far honest results of different backends are apart (wasm, cpu, WebGPU through Dawn; programs of our own and tfjs
operations), in the comparisons that audits make, and writes packages/audit/src/thresholds.json. Takes some minutes.

  --quick        a step of each, to see that it works; writes nothing without --json
  --json FILE    write the result there instead
  --help         this text
`;

const { values } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'string' }, help: { type: 'boolean' } } });

/** Each way to cross in each precision. */
const kinds = BOUNDARIES.flatMap((boundary) => PRECISIONS.map((precision) => ({ boundary, precision })));
const RUNS: CalibrationOptions['runs'] = [
  ...kinds.map((kind) => ({
    ...{ preset: 'nano', ...kind, stages: 3, sequences: 1, microbatches: 2 },
    steps: kind.boundary === 'f32' && kind.precision === 'f32' ? 30 : 12,
  })),
  ...kinds.map((kind) => ({ preset: 'shakespeare', ...kind, stages: 2, steps: 1, sequences: 1, microbatches: 2 })),
];
const QUICK: CalibrationOptions['runs'] = kinds.map((kind) => ({
  ...{ preset: 'pico', ...kind, stages: 2, steps: 1, sequences: 2, microbatches: 2 },
}));

/** Those that work here. */
async function open(): Promise<ReplayThread[]> {
  const threads: ReplayThread[] = [];
  for (const backend of REPLAY_BACKENDS) {
    const thread = new ReplayThread(backend);
    try {
      await thread.adapter();
      threads.push(thread);
    } catch (error) {
      console.log(`Without ${backend}: ${SwarmError.from(error).message}`);
      await thread.close();
    }
  }
  return threads;
}

if (values.help) {
  console.log(HELP);
} else {
  const threads = await open();
  const adapters = Object.fromEntries(await Promise.all(threads.map(async (thread) => [thread.backend, await thread.adapter()] as const)));
  const options = {
    runs: values.quick ? QUICK : RUNS,
    kernelRounds: values.quick ? 1 : 20,
    onProgress: (line: string) => console.log(line),
  };
  const result = {
    measured: new Date().toISOString().slice(0, 10),
    environment: { node: process.version, processor: cpus()[0]!.model, ...adapters },
    ...(await calibrate(threads, options)),
  };
  await Promise.all(threads.map((thread) => thread.close()));
  const file = values.json ?? (values.quick ? null : join(import.meta.dirname, 'thresholds.json'));
  if (file) writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  console.log(JSON.stringify(result.precisions, null, 1));
  console.log(`${result.pairs.reduce((n, { comparisons }) => n + comparisons, 0)} comparisons${file ? `; written to ${file}` : ''}.`);
}
