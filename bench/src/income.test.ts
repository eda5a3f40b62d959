/** No way to lie that we know of earns more than honest work, however much a lie is worth and however many keys there are. */
import { auditRate } from '@starling/audit';
import { splitMix32 } from '@starling/model';
import { expect, it } from 'vitest';
import { BURSTS, FOLDS, HONEST_ALWAYS, income, LIFE, POOLS, REJOINING, SHELTERED } from './income.ts';

const CONDITIONS = { lives: 60, detected: 1 };
const next = splitMix32(3);
const honest = income(HONEST_ALWAYS, CONDITIONS, next);

it('pays the honest for all but their first and their last steps, and audits them seldom', () => {
  expect(honest.paid).toBeGreaterThan(0.95 * LIFE);
  expect(honest.audits).toBeLessThan(0.06 * LIFE);
});

it('a lie never pays', () => {
  for (const fold of FOLDS)
    for (const keys of POOLS)
      for (const strategy of [...REJOINING, ...BURSTS, ...SHELTERED]) {
        const { paid } = income({ ...strategy, fold }, { ...CONDITIONS, keys }, next);
        expect(paid / honest.paid, `${strategy.name}, ${fold}-fold, ${keys} keys`).toBeLessThan(1);
      }
});

it('but it would where an audit takes no more than what it cannot verify', () => {
  const paid = SHELTERED.map((strategy) => income({ ...strategy, fold: 20 }, { ...CONDITIONS, takes: () => 1 }, next).paid);
  expect(Math.max(...paid)).toBeGreaterThan(2 * honest.paid);
});

it('but it did while how often a step is audited did not depend on its work', () => {
  const chanceOf = (standing: Parameters<typeof auditRate>[0]) => auditRate(standing);
  const paid = BURSTS.map((strategy) => income({ ...strategy, fold: 20 }, { ...CONDITIONS, chanceOf }, next).paid);
  expect(Math.max(...paid)).toBeGreaterThan(2 * honest.paid);
});
