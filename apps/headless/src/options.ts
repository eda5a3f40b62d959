/** The headless miner's command line. */
import { parseArgs } from 'node:util';
import { SwarmError } from '@starling/protocol';
import type { LaunchOptions, MinerBackend } from './launch.ts';

export const BACKENDS: readonly MinerBackend[] = ['auto', 'webgpu', 'wasm'];

export const MINE_HELP = `Usage: npm run mine -- --url URL [options]

Mines with tabs of headless Chromiums. Ctrl-C (or SIGTERM) lets them finish what is under way; a second one ends them at once.
Ends with 0 after that, with 2 for an option that is wrong, with 3 when no tab can mine here, or any more, and with 1 for other failures.

  --url URL                  address of the server (http://localhost:8650)
  --count N                  tabs, each one miner (1)
  --backend auto|webgpu|wasm what computes (auto)
  --tabs-per-browser N       tabs that share one Chromium, and go with it when it ends (8)
  --intensity X              share of the time in which they compute, 0.1 to 1 (1)
  --threads N                what each computes with on WebAssembly, 1 to 8 (the cores of this machine, shared by all tabs)
  --hotkey-file FILE         hotkey to mine for: of a Bittensor wallet, or a seed of 64 hex digits (guests, each with a key of its own)
  --allow-software           WebGPU imitated on the CPU will do where there is no GPU; else \`auto\` is wasm there
  --software                 WebGPU on the CPU (SwiftShader), whatever GPU there is
  --name NAME                miners are called NAME-1, NAME-2, … (headless)
  --window                   show the browser
  --json                     log lines as JSON, one object each
  --metrics-port PORT        Prometheus metrics at http://127.0.0.1:PORT/metrics
  --metrics-host ADDRESS     another address to serve them at: 0.0.0.0 lets others read them, as out of a container (127.0.0.1)
  --help                     this text
`;

const OPTIONS = {
  url: { type: 'string', default: 'http://localhost:8650' },
  count: { type: 'string', default: '1' },
  backend: { type: 'string', default: 'auto' },
  'tabs-per-browser': { type: 'string', default: '8' },
  intensity: { type: 'string' },
  threads: { type: 'string' },
  'hotkey-file': { type: 'string' },
  'allow-software': { type: 'boolean' },
  software: { type: 'boolean' },
  name: { type: 'string' },
  window: { type: 'boolean' },
  json: { type: 'boolean', default: false },
  'metrics-port': { type: 'string' },
  'metrics-host': { type: 'string' },
  help: { type: 'boolean' },
} as const;

export interface MineOptions extends LaunchOptions {
  hotkeyFile: string | null;
  /** Log lines are JSON objects. */
  json: boolean;
  metricsHost: string;
  /** Where metrics are served; null: nowhere. */
  metricsPort: number | null;
}

/** Throws `CONFIG_INVALID` for what it does not know. */
export function parseMineArgs(argv: string[]): MineOptions | 'help' {
  const invalid = (message: string) => new SwarmError('CONFIG_INVALID', message);
  const values = (() => {
    try {
      return parseArgs({ args: argv, options: OPTIONS }).values;
    } catch (error) {
      throw SwarmError.from(error, 'CONFIG_INVALID');
    }
  })();
  if (values.help) return 'help';
  if (!/^https?:$/.test(URL.parse(values.url)?.protocol ?? '')) throw invalid(`--url needs an http or https address, not "${values.url}".`);
  if (!/^[1-9]\d{0,2}$/.test(values.count)) throw invalid(`--count needs a whole number from 1 to 999, not "${values.count}".`);
  const { pathname, search, hash } = new URL(values.url);
  if (pathname + search + hash !== '/')
    throw invalid(`--url needs the address of a server alone, not "${values.url}": leave out all after its name and port.`);
  const backend = BACKENDS.find((known) => known === values.backend);
  if (!backend) throw invalid(`--backend needs one of ${BACKENDS.join(', ')}, not "${values.backend}".`);
  const tabsPerBrowser = values['tabs-per-browser'];
  if (!/^[1-9]\d{0,2}$/.test(tabsPerBrowser))
    throw invalid(`--tabs-per-browser needs a whole number from 1 to 999, not "${tabsPerBrowser}".`);
  const { intensity, threads } = values;
  if (intensity !== undefined && !(intensity.trim() !== '' && Number(intensity) >= 0.1 && Number(intensity) <= 1))
    throw invalid(`--intensity needs a number from 0.1 to 1, not "${intensity}".`);
  if (threads !== undefined && !/^[1-8]$/.test(threads)) throw invalid(`--threads needs a whole number from 1 to 8, not "${threads}".`);
  const port = values['metrics-port'];
  if (port !== undefined && !(/^[1-9]\d{0,4}$/.test(port) && Number(port) < 65_536))
    throw invalid(`--metrics-port needs a port from 1 to 65535, not "${port}".`);
  const host = values['metrics-host'];
  if (host !== undefined && (host === '' || port === undefined)) throw invalid('--metrics-host needs an address, and --metrics-port.');
  return {
    url: values.url,
    count: Number(values.count),
    backend,
    tabsPerBrowser: Number(tabsPerBrowser),
    software: values.software ? 'always' : values['allow-software'] ? 'allowed' : 'never',
    ...(intensity !== undefined && { intensity: Number(intensity) }),
    ...(threads !== undefined && { threads: Number(threads) }),
    hotkeyFile: values['hotkey-file'] ?? null,
    headless: !values.window,
    namePrefix: values.name,
    json: values.json,
    metricsHost: host ?? '127.0.0.1',
    metricsPort: port === undefined ? null : Number(port),
  };
}
