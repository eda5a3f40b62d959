import '../styles/account-figures.css';
import type { AccountView } from '@starling/protocol';
import { count, every } from '../format.ts';
import { Stat } from '../parts.tsx';
import { coins, work } from './amounts.ts';

/** What an account has done, what is held of it, where it stands, and what it earned. */
export function AccountFigures({ account }: { account: AccountView }) {
  const { uid, stake, work: done, held, score, halfLife, rank, emission, perDay } = account;
  return (
    // Notes are short: one that wrapped would move what stands below.
    <dl className="stats account-figures">
      <Stat label="Registered" value={uid === null ? 'no' : `UID ${uid}`} note={uid === null ? 'not in the subnet' : 'in the subnet'} />
      <Stat label="Stake" value={stake === null ? '–' : coins(stake)} note="alpha" />
      <Stat label="Credit" value={work(done)} note="verified, ever" />
      <Stat label="Held" value={work(held?.work ?? 0)} note={held ? `until step ${count(held.step)}` : 'nothing is held'} />
      <Stat label="Score" value={work(score)} note={`halves ${every(halfLife)}`} />
      <Stat label="Rank" value={count(rank?.place ?? null)} note={rank ? `of ${count(rank.of)} with a score` : 'no score yet'} />
      <Stat label="Emission" value={coins(emission)} note="alpha, for mining" />
      <Stat label="A day" value={coins(perDay)} note="as in the last epoch" />
    </dl>
  );
}
