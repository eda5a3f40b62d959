/**
 * `node scripts/run.mjs COMMAND args…`: makes a fresh clone ready for a command, then runs it on the Node that the
 * workspace pins. Plain JavaScript for Node 20 without any package, because it is what installs them.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { findChromium, softwareVulkan } from './chromium.mjs';
import { buildWeb, installPackages, markInstalled, nodePath, ROOT } from './workspace.mjs';

/** What each command runs, and what it needs first. `vulkan`: Dawn in Node may use Chromium's software GPU. */
const COMMANDS = {
  demo: { entry: 'apps/demo/src/main.ts', chromium: true, web: true },
  start: { entry: 'server/src/main.ts', web: true },
  mine: { entry: 'apps/headless/src/main.ts', chromium: true },
  bench: { entry: 'bench/src/main.ts', chromium: true, web: true, vulkan: 'without a GPU' },
  calibrate: { entry: 'packages/audit/src/calibrate.ts', chromium: true, vulkan: 'without a GPU' },
  score: { entry: 'server/src/score.ts' },
  validate: { entry: 'server/src/validator/main.ts' },
  screenshots: { entry: 'scripts/screenshots.ts', chromium: true, web: true },
  simulate: { entry: 'packages/simulation/src/main.ts' },
  replay: { entry: 'server/src/replay.ts' },
  test: { entry: 'scripts/test.ts', chromium: true, vulkan: 'always' },
  build: { web: true },
  installed: {},
};

function run(entry, args, env) {
  const child = spawn(nodePath(), ['--disable-warning=ExperimentalWarning', join(ROOT, entry), ...args], { stdio: 'inherit', env });
  // A terminal sends Ctrl-C to the whole group: the child has it already, and forwarding would make it two.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  // npm's shell dies of a signal without passing it on: who is left without a parent ends what it started.
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch); // twice would be an order to end at once
    child.kill('SIGTERM');
  }, 500).unref();
  child.on('error', (error) => fail(`Node could not be started: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

const [name, ...args] = process.argv.slice(2);
const command = Object.hasOwn(COMMANDS, name ?? '')
  ? COMMANDS[name]
  : fail('Usage: node scripts/run.mjs demo|start|mine|bench|calibrate|score|validate|screenshots|simulate|replay|test|build …');
const needsNothing = args.includes('--help');

try {
  if (name === 'installed') markInstalled();
  else installPackages();
  const env = { ...process.env };
  if (command.chromium && !needsNothing) {
    env.CHROMIUM_PATH = await findChromium();
    if (command.vulkan) Object.assign(env, softwareVulkan(env, command.vulkan === 'always'));
  }
  if (command.web && !needsNothing) buildWeb();
  if (command.entry) run(command.entry, args, env);
} catch (error) {
  fail(error.message);
}
