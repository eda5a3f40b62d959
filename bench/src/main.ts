/** `npm run bench -- NAME [options] [--json FILE]`. */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { attack } from './attack.ts';
import { audit } from './audit.ts';
import { chain } from './chain.ts';
import { churn } from './churn.ts';
import { convergence } from './convergence.ts';
import { coordinator } from './coordinator.ts';
import { kernels } from './kernels.ts';
import { pages } from './pages.ts';
import { reduce } from './reduce.ts';
import { print, type Report } from './report.ts';
import { swarm } from './swarm.ts';
import { warmup } from './warmup.ts';

const HELP = `Usage: npm run bench -- NAME [options]

  swarm         one process against swarms of one and two miners per stage, and where the miners' time goes
  coordinator   inputs a second in memory; leases a second over real sockets with a durable log
  audit         how often audits wrong the honest, which cheats they find, and what cheating earns. Takes minutes
  attack        a swarm of which a third cheats, against one without cheats
                  --steps N       (200)
                  --seeds N       each without cheats and with them (3)
  chain         an epoch of Yuma Consensus over 256 validators and 256 neurons
  reduce        merges when reducers fail, and what a miner sends, beside a fixed pair scheme, a ring and a parameter server
  churn         a real swarm under kills, freezes and broken lines, against itself in calm
                  --minutes N     minutes with faults, and as many without (6)
                  --faults N      faults in 30 minutes (66)
                  --miners N      miner processes (6)
                  --tabs N        Chromium tabs beside them (2)
                  --seed N        of the schedule (1)
                  --verify N      steps computed again afterwards, at most (all)
  kernels       a training step by our kernels, by tfjs's operations, by plain tfjs autodiff, and by jax-js, on wasm and WebGPU
                  --only A,B      presets (nano,shakespeare)
                  --backends A,B  of wasm and webgpu (both)
                  --tune          measure the ways to compute on WebGPU first, and keep what was found
                  --precision P   f16: ours also with operands of products in halves (f32)
  pages         1,000 spectators, the network view with 500 miners, a tab on 1 thread and more, and one that mines 1,000 microbatches. Takes minutes
                  --only A,B      of spectators, network, threads, and the backends of the tab, wasm and webgpu (all)
  convergence   what each encoding, inner steps and overlap cost in loss. Takes hours; goes on where --json says it stopped
                  --corpus PATH   text to learn from (needed)
                  --iterations N  of 12 × 64 tokens (2000)
                  --only A,B      variants, by the names it prints (all)
  warmup        how much where a run ends depends on its first steps, by peak rate and warm-up
                  --steps N       of each run (150)

  --json FILE   write the report there, too
`;

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{ minutes: text, faults: text, miners: text, tabs: text, seed: text, verify: text, steps: text, seeds: text },
    ...{ corpus: text, iterations: text, only: text, backends: text, precision: text, tune: { type: 'boolean' } as const },
    ...{ json: text, help: { type: 'boolean' } },
  },
});
const number = (name: keyof typeof values, otherwise: number) => {
  const given = values[name];
  if (given === undefined) return otherwise;
  const value = Number(given);
  if (!Number.isFinite(value) || value < 0) throw new Error(`--${name} needs a number, not "${given}".`);
  return value;
};

const BENCHMARKS: Record<string, () => Promise<Report>> = {
  audit,
  attack: () => attack(number('steps', 200), number('seeds', 3)),
  chain,
  coordinator,
  kernels: () =>
    kernels({
      presets: (values.only ?? 'nano,shakespeare').split(','),
      backends: (values.backends ?? 'wasm,webgpu').split(',') as ('wasm' | 'webgpu')[],
      tune: values.tune ?? false,
      precision: (values.precision ?? 'f32') as 'f32' | 'f16',
    }),
  pages: () => pages(values.only),
  reduce,
  swarm,
  warmup: () => warmup(number('steps', 150)),
  convergence: () => {
    if (values.corpus === undefined) throw new Error('convergence needs --corpus PATH: the text to learn from.');
    const only = values.only?.split(',') ?? null;
    return convergence({ corpus: values.corpus, iterations: number('iterations', 2000), only, json: values.json ?? null });
  },
  churn: () =>
    churn({
      minutes: number('minutes', 6),
      faultsPer30Minutes: number('faults', 66),
      nodeMiners: number('miners', 6),
      tabs: number('tabs', 2),
      seed: number('seed', 1),
      verifySteps: number('verify', Number.MAX_SAFE_INTEGER),
    }),
};

const [name = '', ...rest] = positionals;
if (values.help || rest.length > 0 || !Object.hasOwn(BENCHMARKS, name)) {
  console.log(HELP);
  process.exit(values.help ? 0 : 2);
}
const report = await BENCHMARKS[name]!();
print(report);
// `convergence` has written there already, more than the report.
if (values.json && name !== 'convergence') writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
