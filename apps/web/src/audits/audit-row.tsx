import type { AuditCheck, AuditEntry, AuditVerdict } from '@starling/protocol';
import { useId, useState } from 'react';
import { count, moment, small, took } from '../format.ts';
import { minerPath } from '../paths.ts';
import { Link } from '../router.tsx';
import { onThisClock } from '../server-clock.ts';
import type { Column } from '../table.tsx';
import { shortHotkey } from './validators.tsx';

/** The outcome is seen without scrolling on a telephone, too. */
export const columns = ({ ofOne }: { ofOne: boolean }): Column[] => [
  ...(ofOne ? ['When', 'Outcome'] : ['Miner', 'Outcome', 'When']),
  { number: 'Stage' },
  { number: 'Step' },
  'By',
  { number: 'Compared' },
  { number: 'Nearest the limit' },
  { number: 'Took' },
];

const WORDS: Record<string, string> = { activations: 'output', inputGradient: 'input gradient', loss: 'loss', gradient: 'gradient sum' };
const nameOf = ({ quantity }: AuditCheck) => WORDS[quantity] ?? quantity;
/** JSON has null for what is infinitely far. */
const distance = (value: number | null) => (value === null ? 'unlike' : small(value));

/** The check that is nearest its limit, or farthest beyond it. */
function closest(checks: readonly AuditCheck[]): AuditCheck | undefined {
  const share = ({ relativeL2, limit }: AuditCheck) =>
    (relativeL2 as number | null) === null ? Number.POSITIVE_INFINITY : relativeL2 / limit.relativeL2;
  return checks.toSorted((a, b) => share(b) - share(a))[0];
}

/** One audit; opened, all that was compared, with both limits. `ofOne`: all rows are of the same miner, which need not be named. */
export function AuditRow({ audit, name, ofOne }: { audit: AuditEntry; name: string; ofOne: boolean }) {
  const { minerId, time, stage, version, verdict, validator, uncounted } = audit;
  const [open, setOpen] = useState(false);
  const details = useId();
  const when = moment(onThisClock(time), Date.now());
  const worst = closest(verdict.checks);
  const unverified = Object.values(verdict.unverified ?? {}).reduce((sum, leases) => sum + leases, 0);
  return (
    <>
      <tr>
        <th scope="row">
          <button
            type="button"
            className="opener"
            aria-expanded={open}
            aria-controls={open ? details : undefined}
            aria-label={`What was compared of ${name}, step ${version}`}
            onClick={() => setOpen(!open)}
          >
            {open ? '▾' : '▸'}
          </button>
          {ofOne ? (
            when
          ) : (
            <Link className="who" to={minerPath(minerId)} title={name}>
              {name}
            </Link>
          )}
        </th>
        <td>
          <span className={`outcome ${verdict.outcome}`}>{verdict.outcome}</span>
          {unverified > 0 && (
            <>
              {' '}
              <small>but for {unverified}</small>
            </>
          )}
          {uncounted && (
            <>
              {' '}
              <small>not counted</small>
            </>
          )}
        </td>
        {!ofOne && <td>{when}</td>}
        <td className="number">{stage}</td>
        <td className="number">{count(version)}</td>
        <td>{shortHotkey(validator)}</td>
        <td className="number">{count(verdict.compared)}</td>
        <td className="number">
          {worst ? (
            <>
              {nameOf(worst)} <Off value={worst.relativeL2} limit={worst.limit.relativeL2} />
            </>
          ) : (
            '–'
          )}
        </td>
        <td className="number">{took(verdict.computeMs)}</td>
      </tr>
      {open && (
        <tr id={details} className="audit-details">
          <td colSpan={columns({ ofOne }).length}>
            <Details audit={audit} />
          </td>
        </tr>
      )}
    </>
  );
}

const Off = ({ value, limit }: { value: number; limit: number }) => (
  <>
    {distance(value)} <small>of {small(limit)}</small>
  </>
);

/** What is beyond its limit where honest results are, too, shows nothing. */
function Result({ check: { passed }, of: { outcome } }: { check: AuditCheck; of: AuditVerdict }) {
  if (!passed && outcome !== 'failed') return <span className="outcome void">unverified</span>;
  return <span className={`outcome ${passed ? 'passed' : 'failed'}`}>{passed ? 'passed' : 'failed'}</span>;
}

function Details({ audit: { verdict, uncounted } }: { audit: AuditEntry }) {
  return (
    <div>
      <p>{verdict.finding}</p>
      {uncounted && <p>It says nothing for the device: that was found false after this work, or is known no more.</p>}
      {verdict.checks.length > 0 && (
        <table>
          <caption>Of each kind the one nearest its limit, and all that is beyond it</caption>
          <thead>
            <tr>
              <th scope="col">Compared</th>
              <th scope="col">1 − cosine, of its limit</th>
              <th scope="col">Relative L2, of its limit</th>
              <th scope="col">Result</th>
            </tr>
          </thead>
          <tbody>
            {verdict.checks.map((check, i) => (
              <tr key={i}>
                <th scope="row">
                  {nameOf(check)}
                  {check.microbatch !== null && ` of microbatch ${count(check.microbatch)}`}
                </th>
                <td>
                  <Off value={check.cosineDistance} limit={check.limit.cosineDistance} />
                </td>
                <td>
                  <Off value={check.relativeL2} limit={check.limit.relativeL2} />
                </td>
                <td>
                  <Result check={check} of={verdict} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
