/** Which fault strikes whom and when: drawn from a seed before the run, so that a run can be had again. */
import { Random } from '@starling/simulation/random';

export type Fault =
  | { kind: 'kill miner'; miner: number }
  | { kind: 'freeze miner'; miner: number; ms: number }
  | { kind: 'drop socket'; miner: number }
  | { kind: 'cut line'; miner: number; ms: number }
  | { kind: 'crash tab'; tab: number }
  | { kind: 'kill server' };

export interface Strike {
  /** Ms after the phase began. */
  at: number;
  fault: Fault;
}

/** Of a hundred faults, so many are of each kind: mostly what happens to a volunteer's computer. */
const SHARES: Record<Fault['kind'], number> = {
  'kill miner': 26,
  'freeze miner': 26,
  'drop socket': 24,
  'cut line': 12,
  'crash tab': 6,
  'kill server': 6,
};

/** `count` faults, evenly spread over `ms` with a little jitter, at the kinds' shares. */
export function drawSchedule(seed: number, count: number, ms: number, miners: number, tabs: number): Strike[] {
  const random = new Random(seed);
  const deck = Object.entries(SHARES).flatMap(([kind, share]) =>
    Array.from({ length: Math.round((share * count) / 100) }, () => kind as Fault['kind']),
  );
  while (deck.length < count) deck.push('drop socket');
  for (let i = deck.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [deck[i], deck[j]] = [deck[j]!, deck[i]!];
  }
  const someone = () => Math.floor(random.next() * miners);
  const make = (kind: Fault['kind']): Fault => {
    if (kind === 'freeze miner' || kind === 'cut line') return { kind, miner: someone(), ms: random.between(2_000, 20_000) };
    if (kind === 'crash tab') return tabs > 0 ? { kind, tab: Math.floor(random.next() * tabs) } : { kind: 'kill miner', miner: someone() };
    return kind === 'kill server' ? { kind } : { kind, miner: someone() };
  };
  const gap = ms / count;
  return deck.slice(0, count).map((kind, i) => ({ at: gap * (i + random.between(0.2, 0.8)), fault: make(kind) }));
}
