/** The headless miner's command line. */
import { parseArgs } from 'node:util';
import { SwarmError } from '@starling/protocol';
import type { LaunchOptions, MinerBackend } from './launch.ts';

export const BACKENDS: readonly MinerBackend[] = ['auto', 'webgpu', 'wasm'];

export const MINE_HELP = `Usage: npm run mine -- --url URL [options]

Mines with tabs of a headless Chromium, until Ctrl-C.

  --url URL                  address of the server (http://localhost:8650)
  --count N                  tabs, each one miner (1)
  --backend auto|webgpu|wasm what computes (auto)
  --gpu                      insist on the GPU: no software rendering where there is none
  --software                 WebGPU on the CPU (SwiftShader), whatever GPU there is
  --name NAME                miners are called NAME-1, NAME-2, … (headless)
  --window                   show the browser
  --json                     log lines as JSON, one object each
  --metrics-port PORT        Prometheus metrics at http://127.0.0.1:PORT/metrics
  --help                     this text
`;

const OPTIONS = {
  url: { type: 'string', default: 'http://localhost:8650' },
  count: { type: 'string', default: '1' },
  backend: { type: 'string', default: 'auto' },
  gpu: { type: 'boolean' },
  software: { type: 'boolean' },
  name: { type: 'string' },
  window: { type: 'boolean' },
  json: { type: 'boolean', default: false },
  'metrics-port': { type: 'string' },
  help: { type: 'boolean' },
} as const;

export interface MineOptions extends LaunchOptions {
  /** Log lines are JSON objects. */
  json: boolean;
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
  const backend = BACKENDS.find((known) => known === values.backend);
  if (!backend) throw invalid(`--backend needs one of ${BACKENDS.join(', ')}, not "${values.backend}".`);
  if (values.gpu && values.software) throw invalid('--gpu and --software exclude each other.');
  const port = values['metrics-port'];
  if (port !== undefined && !(/^[1-9]\d{0,4}$/.test(port) && Number(port) < 65_536))
    throw invalid(`--metrics-port needs a port from 1 to 65535, not "${port}".`);
  return {
    url: values.url,
    count: Number(values.count),
    backend,
    software: values.software ? true : values.gpu ? false : undefined,
    headless: !values.window,
    namePrefix: values.name,
    json: values.json,
    metricsPort: port === undefined ? null : Number(port),
  };
}
