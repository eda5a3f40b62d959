/** `npm run validate`: a validator with a hotkey, a stake and a secret of its own. */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { REPLAY_BACKENDS, type ReplayBackend } from '@starling/audit/node';
import { hotkeyFrom } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import { Validator, type ValidatorOptions } from './validator.ts';

const HELP = `Usage: npm run validate -- --hotkey-file FILE [options]

Audits a run with a hotkey of its own: draws miners by its own secret, computes their work again, and sets its own weights. Run it
anywhere, beside others; the hotkey needs a validator permit and stake (on a server's own chain: npm start -- --validator HOTKEY=TAO).

  --hotkey-file FILE   hotkey of a Bittensor wallet, or a seed of 64 hex digits
  --url URL            the server (http://127.0.0.1:8650)
  --backend NAME       how work is computed again: ${REPLAY_BACKENDS.join(', ')} (wasm)
  --data DIR           folder of weights that are committed and not revealed yet (data)
  --chain URL          wss:// address of a node, where the server does not pay on a chain of its own
  --help               this text
`;

/** Throws `CONFIG_INVALID`. */
async function read(argv: string[]): Promise<Omit<ValidatorOptions, 'log'> | 'help'> {
  const text = { type: 'string' } as const;
  const options = { 'hotkey-file': text, url: text, backend: text, data: text, chain: text, help: { type: 'boolean' } } as const;
  const parse = () => parseArgs({ args: argv, options }).values;
  let values: ReturnType<typeof parse>;
  try {
    values = parse();
  } catch (error) {
    throw SwarmError.from(error, 'CONFIG_INVALID');
  }
  if (values.help) return 'help';
  const { 'hotkey-file': file, backend = 'wasm', data: dataDir = 'data', chain: endpoint } = values;
  const url = (values.url ?? 'http://127.0.0.1:8650').replace(/\/+$/, '');
  if (!URL.canParse(url)) throw new SwarmError('CONFIG_INVALID', `--url needs an http:// or https:// address, not "${url}".`);
  if (!REPLAY_BACKENDS.some((name) => name === backend))
    throw new SwarmError('CONFIG_INVALID', `--backend is one of ${REPLAY_BACKENDS.join(', ')}, not "${backend}".`);
  if (file === undefined) throw new SwarmError('CONFIG_INVALID', '--hotkey-file is missing.');
  const seed = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new SwarmError('CONFIG_INVALID', `--hotkey-file ${file} cannot be read: ${(error as Error).message}.`, { cause: error });
  });
  return { url, hotkey: hotkeyFrom(seed), seed, backend: backend as ReplayBackend, dataDir, ...(endpoint !== undefined && { endpoint }) };
}

try {
  const options = await read(process.argv.slice(2));
  if (options === 'help') {
    console.log(HELP);
  } else {
    const validator = new Validator({ ...options, log: (line) => console.log(line) });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void validator.close().then(() => process.exit(0)));
  }
} catch (error) {
  const fault = SwarmError.from(error);
  console.error(`${fault.message} ${fault.hint} [${fault.code}]`);
  process.exit(fault.code === 'CONFIG_INVALID' ? 2 : 1);
}
