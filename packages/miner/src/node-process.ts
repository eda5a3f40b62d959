/** A miner in a process of its own, so that it can be killed, stopped and continued like one. For tests and benchmarks. */
import { type ChildProcess, fork } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import type { NodeMinerOptions } from './node.ts';
import { nodeMiner } from './node-host.ts';

export interface ProcessMinerOptions extends NodeMinerOptions {
  /** File that remembers the session over restarts, as a tab does over reloads. */
  sessionFile: string;
}

/** The process ends with the one that started it. */
export function startMinerProcess(options: ProcessMinerOptions): ChildProcess {
  return fork(import.meta.filename, [JSON.stringify(options)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

if (process.argv[1] === import.meta.filename && process.send) {
  const options = JSON.parse(process.argv[2]!) as ProcessMinerOptions;
  const { sessionFile } = options;
  const miner = nodeMiner(options, {
    get: () => readFile(sessionFile, 'utf8').catch(() => null),
    set: (_, value) => writeFile(sessionFile, value),
  });
  process.on('disconnect', () => process.exit(0));
  await miner.start().catch(() => process.exit(1));
}
