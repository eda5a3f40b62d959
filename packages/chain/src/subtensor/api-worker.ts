/** The thread behind `ApiThread`: one line at a time, opened when something is asked. */
import './quiet.ts';
import { parentPort } from 'node:worker_threads';
import type { AccountInfo } from '@polkadot/types/interfaces';
import { SwarmError } from '@starling/protocol';
import type { Question, Questions, Said, Told, Where } from './api-thread.ts';
import { Link, refusalCode } from './link.ts';
import { type Block, readLastStep, readMetagraph } from './reads.ts';
import { send } from './sending.ts';

const port = parentPort!;
const say = (said: Said) => port.postMessage(said);
/** Who waits for a signature, by the question for which it is made. */
const signed = new Map<number, (signature: Uint8Array) => void>();
let line: Link | null = null;

// The library reads what a node sends where nobody waits for it. To be refused what it asks by itself is no harm.
process.on('uncaughtException', (error) => {
  if (refusalCode(error) === undefined) line?.end(`sent what is no JSON-RPC: ${error.message}`);
});

function lineTo(where: Where): Link {
  if (!line || line.ended) line = new Link(where, line?.gone ?? Promise.resolve());
  return line;
}

/** The one whose runtime is the chain's. */
async function currentLine(where: Where): Promise<Link> {
  const now = lineTo(where);
  if (await now.use(() => now.isCurrent())) return now;
  now.end('has a new runtime');
  return lineTo(where);
}

/** What `task` makes of the newest block. */
function atHead<T>(where: Where, task: (at: Block, hash: string, number: () => Promise<number>) => Promise<T>): Promise<T> {
  const link = lineTo(where);
  return link.use(async (api) => {
    const hash = await link.bestHash();
    return task(await api.at(hash), hash, () => link.numberOf(hash));
  });
}

const answersTo = (id: number, where: Where): Questions => ({
  network: () => lineTo(where).use(async ({ genesisHash }) => genesisHash.toHex().slice(2)),
  head: () => atHead(where, async (_, hash, number) => ({ number: await number(), hash: hash.slice(2) })),
  metagraph: () => atHead(where, async (at, _, number) => readMetagraph(at, where.netuid, await number())),
  balance: (account) => atHead(where, async ({ query }) => ((await query.system!.account!(account)) as AccountInfo).data.free.toBigInt()),
  lastStep: () => atHead(where, (at) => readLastStep(at, where.netuid)),
  send: async (call, signer) => {
    const link = await currentLine(where);
    const sign = (toSign: Uint8Array) => {
      say({ id, toSign });
      return new Promise<Uint8Array>((resolve) => signed.set(id, resolve));
    };
    return link.use((api) => send(link, api, where.netuid, call, signer, sign));
  },
  leave: async () => {
    line?.end('was left');
    await line?.gone;
    line = null;
  },
});

port.on('message', async (told: Told) => {
  const { id } = told;
  if ('signature' in told) {
    signed.get(id)?.(told.signature);
    signed.delete(id);
    return;
  }
  try {
    const ask = answersTo(id, told.where)[told.question] as (...args: unknown[]) => ReturnType<Questions[Question]>;
    say({ id, answer: await ask(...told.args) });
  } catch (error) {
    say({ id, error: SwarmError.from(error, 'CHAIN_UNREACHABLE').toWire() });
  }
});
