/** What the chain paid, beside what was done for it. */
import type { ChainView } from '@starling/protocol';
import type { RunningServer } from '@starling/server';

/** A chain fast enough to be watched: an epoch every two seconds. The less is held, the more is audited: with six steps no more than of newcomers. */
export const DEMO_CHAIN = { blockMs: 200, tempo: 10, roundSteps: 2, heldSteps: 6 };

const NANO = 1e9;
const GIGA = 1e9;

/** The chain as it is when the newest round is paid: its weights are set, and an epoch went by since. Null without a round. */
export async function paidView(server: RunningServer): Promise<ChainView | null> {
  for (let view = await server.chain(); view.rounds.newest; view = await server.chain()) {
    const due = view.pay.some(({ score }) => score > 0);
    if (!due || view.trouble) return view;
    const isSet = view.weights?.round === view.rounds.newest.round;
    await server.nextEpoch();
    if (isSet) return server.chain();
  }
  return null;
}

/** A line for each account: its work, its share of it, what it was paid, and the share of that. */
export function payTable({ pay, correlation, block, epoch }: ChainView): string {
  const work = pay.reduce((all, line) => all + line.work, 0);
  const emission = pay.reduce((all, line) => all + Number(line.emission), 0);
  const share = (part: number, whole: number) => `${((100 * part) / (whole || 1)).toFixed(1)} %`.padStart(8);
  const lines = pay.map((line) => {
    const uid = line.uid === null ? '–' : String(line.uid);
    const name = line.names.join(', ').slice(0, 20).padEnd(20);
    const did = `${(line.work / GIGA).toFixed(2).padStart(9)} GFLOP ${share(line.work, work)}`;
    const got = `${(Number(line.emission) / NANO).toFixed(3).padStart(9)} alpha ${share(Number(line.emission), emission)}`;
    return `  uid ${uid.padStart(3)}  ${name}${did}${got}`;
  });
  const fit = correlation === null ? 'not yet (as long again as they took), or fewer than three accounts' : correlation.toFixed(4);
  return [
    `Emission by miner against verified work, after epoch ${epoch} (block ${block}) of the embedded chain:`,
    ...lines,
    `  Correlation of emission with work, since the scores of all that are paid had settled: ${fit}`,
  ].join('\n');
}
