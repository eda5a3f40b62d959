/** `npm test`: every check there is, in order, ending at the first that fails. The last line counts the tests. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const reports = mkdtempSync(join(tmpdir(), 'starling-test-'));
const vitestReport = join(reports, 'vitest.json');
const playwrightReport = join(reports, 'playwright.json');
const bin = (name: string) => join(root, 'node_modules/.bin', name);

const STEPS: { name: string; command: string; args: string[] }[] = [
  { name: 'types', command: bin('tsc'), args: [] },
  { name: 'lint', command: bin('biome'), args: ['ci', '--error-on-warnings', '--reporter=summary'] },
  { name: 'web app', command: bin('vite'), args: ['build', 'apps/web', '--logLevel', 'warn'] },
  {
    name: 'unit, simulation, integration',
    command: bin('vitest'),
    args: ['run', '--reporter=dot', '--reporter=json', `--outputFile.json=${vitestReport}`],
  },
  { name: 'e2e in Chromium', command: bin('playwright'), args: ['test', '--config', 'e2e', '--reporter=list,json'] },
];

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

function read(path: string): Record<string, number> | null {
  try {
    const report = JSON.parse(readFileSync(path, 'utf8'));
    return report.stats ?? report;
  } catch {
    return null; // the step did not get that far
  }
}

function counts(): Counts {
  const vitest = read(vitestReport);
  const playwright = read(playwrightReport);
  return {
    passed: (vitest?.numPassedTests ?? 0) + (playwright?.expected ?? 0) + (playwright?.flaky ?? 0),
    failed: (vitest?.numFailedTests ?? 0) + (playwright?.unexpected ?? 0),
    skipped: (vitest?.numPendingTests ?? 0) + (playwright?.skipped ?? 0),
  };
}

let failure: string | null = null;
for (const { name, command, args } of STEPS) {
  console.log(`\n── ${name}`);
  const started = performance.now();
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PLAYWRIGHT_JSON_OUTPUT_NAME: playwrightReport },
  });
  if (error) console.error(error.message);
  console.log(`── ${name}: ${status === 0 ? 'ok' : 'FAILED'} after ${((performance.now() - started) / 1000).toFixed(0)} s`);
  if (status !== 0) {
    failure = name;
    break;
  }
}
const { passed, failed, skipped } = counts();
rmSync(reports, { recursive: true, force: true });
if (failure) console.log(`\nFailed: ${failure}.`);
// A failing step that is not a test (types, lint, build) counts as one.
console.log(`${passed} passed, ${failure ? Math.max(1, failed) : failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
process.exit(failure ? 1 : 0);
