/** `npm run score`: a run's scores, computed again from its public ledger alone, beside what its server says. */
import { parseArgs } from 'node:util';
import { encodeAddress, fromHex } from '@starling/chain';
import { type AccountView, type ChainView, ERROR_HINTS, type RoundWork, SwarmError } from '@starling/protocol';
import { getJson } from './fetch.ts';
import { tallyOf } from './scores.ts';

const HELP = `Usage: npm run score -- --run ID [options]

Fetches the ledger of a run (what each miner did in each round, and whose work was found false), computes every score from it,
and compares them with those that the server pays by. Exit status 1 when they differ.

  --run ID      the run, as its dashboard and GET /v1/run name it (the one that is there)
  --url URL     its server (http://127.0.0.1:8650)
  --json        print the scores as JSON
  --help        this text
`;

interface Line {
  device: string;
  score: number;
  work: number;
  names: string[];
}

/** Every device's score from the ledger, and those accounts for which the server says another. */
export async function scores(url: string, runId?: string): Promise<{ run: string; rounds: number; lines: Line[]; differ: string[] }> {
  const run = runId ?? (await getJson<{ config: { runId: string } }>(`${url}/v1/run`)).config.runId;
  const ledger: RoundWork[] = [];
  for (;;) {
    const page = await getJson<{ rounds: RoundWork[] }>(`${url}/v1/runs/${run}/ledger?after=${ledger.at(-1)?.round ?? 0}`);
    if (page.rounds.length === 0) break;
    ledger.push(...page.rounds);
  }
  const lines = [...tallyOf(ledger).scores].map(([device, { score, work, names }]) => ({ device, score, work, names }));
  lines.sort((a, b) => b.score - a.score);
  return { run, rounds: ledger.length, lines, differ: await compare(url, lines) };
}

/** What the server pays by is a sum over the devices of an account. */
async function compare(url: string, lines: readonly Line[]): Promise<string[]> {
  const { pay } = await getJson<ChainView>(`${url}/v1/chain`);
  const own = new Map<string, number>();
  for (const { device, score } of lines) {
    const { delegation } = await getJson<AccountView>(`${url}/v1/identity/${device}`);
    const address = delegation?.hotkey ?? encodeAddress(fromHex(device)!);
    own.set(address, (own.get(address) ?? 0) + score);
  }
  const addresses = new Set([...own.keys(), ...pay.map(({ address }) => address)]);
  const theirs = new Map(pay.map(({ address, score }) => [address, score]));
  return [...addresses].filter((address) => !isSame(own.get(address) ?? 0, theirs.get(address) ?? 0));
}

/** To a billionth, far below a weight's unit: powers have not the same last bit in every engine. */
const isSame = (a: number, b: number) => Math.abs(a - b) <= 1e-9 * Math.max(a, b);

async function main(argv: string[]): Promise<number> {
  let values: { run?: string; url?: string; json?: boolean; help?: boolean };
  try {
    const text = { type: 'string' } as const;
    const flag = { type: 'boolean' } as const;
    ({ values } = parseArgs({ args: argv, options: { run: text, url: text, json: flag, help: flag } }));
  } catch (error) {
    throw SwarmError.from(error, 'CONFIG_INVALID');
  }
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const url = (values.url ?? 'http://127.0.0.1:8650').replace(/\/$/, '');
  const result = await scores(url, values.run);
  if (values.json) {
    console.log(JSON.stringify(result, null, 2));
  } else {
    console.log(`Run ${result.run}: ${result.rounds} rounds of the ledger`);
    for (const { device, score, work, names } of result.lines)
      console.log(`  ${device.slice(0, 12)}…  ${score.toExponential(6)} FLOP  of ${work.toExponential(3)} verified  ${names.join(', ')}`);
    console.log(result.differ.length === 0 ? 'The server pays by the same scores.' : `The server pays others: ${result.differ.join(', ')}`);
  }
  return result.differ.length === 0 ? 0 : 1;
}

if (process.argv[1] === import.meta.filename) {
  try {
    process.exit(await main(process.argv.slice(2)));
  } catch (error) {
    const fault = SwarmError.from(error);
    console.error(`${fault.message} ${ERROR_HINTS[fault.code]} [${fault.code}]`);
    process.exit(2);
  }
}
