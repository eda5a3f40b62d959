/** Leases a second over real sockets with a durable log, beside what a bare Socket.IO echo reaches on the same machine. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServerProcess } from '@starling/server/process';
import type { Row } from './report.ts';
import type { WireReport, WireTask } from './wire-miners.ts';

const SOCKETS = 1_000;
/** Not all at once: a real crowd takes seconds to come, too. */
const WAVE = 50;
const SETTLE_S = 3;
const MEASURED_S = 12;
/** Two leases each (one on the last stage, which has half the work), so many ms between a lease and its receipt. */
const PACED_MS = 315;
/** So many microbatches in a step that merges take a small part of the time, as they do in a real run. */
const MICROBATCHES = 16_384;
const STAGES = 4;

interface Measured {
  perSecond: number;
  median: number;
  p99: number;
}

/** Runs the task against `url` until everybody is connected, and measures then. Throws when anything was refused. */
async function measure(task: WireTask): Promise<Measured> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'wire-miners.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'] });
  try {
    child.send(task);
    const reports: WireReport[] = [];
    for (let settled = 0; reports.length < MEASURED_S; ) {
      const [report] = (await once(child, 'message')) as [WireReport];
      if (report.connected < task.sockets) continue;
      if (settled++ >= SETTLE_S) reports.push(report);
    }
    const refused = reports.reduce((sum, report) => sum + report.refused, 0);
    if (refused > 0) throw new Error(`${refused} messages were refused.`);
    const waits = reports.flatMap((report) => report.waits).sort((a, b) => a - b);
    const at = (share: number) => waits[Math.floor(share * (waits.length - 1))]!;
    return { perSecond: reports.reduce((sum, { answered }) => sum + answered, 0) / MEASURED_S, median: at(0.5), p99: at(0.99) };
  } finally {
    child.kill('SIGKILL');
  }
}

async function measureEcho(delayMs: number): Promise<Measured> {
  const server = fork(join(import.meta.dirname, 'echo-server.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'] });
  try {
    const [{ port }] = (await once(server, 'message')) as [{ port: number }];
    return await measure({ url: `http://127.0.0.1:${port}`, kind: 'echo', sockets: SOCKETS, wave: WAVE, delayMs });
  } finally {
    server.kill('SIGKILL');
  }
}

async function measureLeases(delayMs: number): Promise<Measured> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-wire-'));
  const server = await startServerProcess([
    ...['--port', '0', '--data', dataDir, '--preset', 'pico', '--stages', `${STAGES}`],
    ...['--microbatches', `${MICROBATCHES}`, '--validate-every', '1000000', '--checkpoint-every', '1000000'],
  ]);
  try {
    return await measure({ url: server.url, kind: 'mine', sockets: SOCKETS, wave: WAVE, delayMs });
  } finally {
    await server.kill();
    await rm(dataDir, { recursive: true, force: true });
  }
}

export async function wireRows(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [pace, delayMs] of [
    ['as fast as it goes', 0],
    ['paced', PACED_MS],
  ] as const) {
    const echo = await measureEcho(delayMs);
    const leases = await measureLeases(delayMs);
    const name = `${SOCKETS} sockets, ${pace}`;
    rows.push(
      { metric: `${name}: bare echo`, value: echo.perSecond, unit: 'messages/s' },
      {
        metric: `${name}: leases, durable`,
        value: leases.perSecond,
        unit: 'leases/s',
        against: 'bare echo',
        ratio: leases.perSecond / echo.perSecond,
      },
      { metric: `${name}: bare echo, p99`, value: echo.p99, unit: 'ms' },
      { metric: `${name}: receipt to answer, median`, value: leases.median, unit: 'ms' },
      { metric: `${name}: receipt to answer, p99`, value: leases.p99, unit: 'ms', against: 'bare echo, p99', ratio: leases.p99 / echo.p99 },
    );
  }
  return rows;
}
