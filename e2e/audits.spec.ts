/** Audits of a swarm in which one miner lies: what a spectator is told of them, number by number. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { type NodeMiner, startNodeMiner } from '@starling/miner/node';
import type { AuditCheck, AuditEntry, RunSnapshot } from '@starling/protocol';
import type { Agreement } from '@starling/reduce';
import { type ServerProcess, startServerProcess } from '@starling/server/process';
import { fits, SCREENS } from './screens.ts';

test.describe.configure({ mode: 'serial' });

interface Attribution {
  stage: number;
  minerId: string;
  samples: number;
  excess: number;
  zScore: number;
}

/** Of the page. */
const AUDITS_A_PAGE = 20;
const HONEST = ['kestrel', 'wren', 'osprey', 'gull'];

let server: ServerProcess;
let miners: NodeMiner[];
const ask = async <T>(path: string): Promise<T> => (await fetch(`${server.url}${path}`)).json() as Promise<T>;
const run = () => ask<RunSnapshot>('/v1/run');
const audits = async () => (await ask<{ audits: AuditEntry[] }>('/v1/audits?limit=1000')).audits;
const attribution = async () => (await ask<{ attribution: Attribution[] }>('/v1/attribution')).attribution;
const agreement = async () => (await ask<{ stages: Agreement[][] }>(`/v1/runs/${(await run()).config.runId}/agreement`)).stages;

test.beforeAll(async () => {
  const data = mkdtempSync(join(tmpdir(), 'starling-audits-'));
  server = await startServerProcess(
    `--port 0 --data ${data} --preset pico --stages 2 --sequences 1 --microbatches 6 --steps 0 --held-steps 1`.split(' '),
  );
  const start = (name: string) => startNodeMiner({ url: server.url, name, backend: 'wasm' });
  miners = HONEST.map(start);
  await expect.poll(async () => (await run()).step).toBeGreaterThan(1);
  miners.push(startNodeMiner({ url: server.url, name: 'cuckoo', backend: 'wasm', tampering: 'sign-flipped gradient' }));
  const outcomes = async () => (await audits()).map(({ verdict }) => verdict.outcome);
  await expect.poll(outcomes).toEqual(expect.arrayContaining(['passed', 'failed']));
  await expect.poll(async () => (await outcomes()).length).toBeGreaterThan(AUDITS_A_PAGE);
  await expect.poll(async () => (await attribution()).length).toBeGreaterThanOrEqual(HONEST.length);
  await expect.poll(async () => (await agreement()).map((pairs) => pairs.length > 0)).toEqual([true, true]);
  // From here on nothing changes any more, and neither do the pages.
  for (const miner of miners) miner.order({ type: 'pause' });
  const leases = async () => (await run()).stages.flatMap(({ miners: crew }) => crew.filter((miner) => miner.leases > 0));
  await expect.poll(leases).toEqual([]);
});
test.afterAll(async () => {
  await Promise.all(miners.map((miner) => miner.kill()));
  await server.kill();
});

const small = (x: number | null) => (x === null ? 'unlike' : x === 0 ? '0' : x.toExponential(2));
const signed = (x: number, digits: number) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(digits)}`;
const WORDS = { activations: 'output', inputGradient: 'input gradient', loss: 'loss', gradient: 'gradient sum' };
const told = ({ quantity, microbatch, cosineDistance, relativeL2, limit, passed }: AuditCheck) =>
  [
    `${WORDS[quantity]}${microbatch === null ? '' : ` of microbatch ${microbatch}`}`,
    `${small(cosineDistance)} of ${small(limit.cosineDistance)}`,
    `${small(relativeL2)} of ${small(limit.relativeL2)}`,
    passed ? 'passed' : 'failed',
  ].join(' ');

for (const screen of SCREENS) {
  test(`an audit opens to every number that was compared, and older ones are a page away, on ${screen.name}`, async ({ browser }) => {
    const page = await (await browser.newContext(screen.options)).newPage();
    // Who is convicted here had nothing done before that is looked at afterwards.
    await page.route('**/v1/audits?*', async (route) => {
      const response = await route.fetch();
      const body = (await response.json()) as { audits: AuditEntry[] };
      for (const audit of body.audits.filter(({ verdict }) => verdict.outcome === 'passed')) audit.uncounted = true;
      await route.fulfill({ response, json: body });
    });
    await page.goto(`${server.url}/audits`);
    const feed = page.getByRole('region', { name: 'Newest audits' });
    const opens = page.getByRole('button', { name: /What was compared/ });
    const rows = feed.getByRole('row').filter({ has: opens });
    await expect(rows).toHaveCount(AUDITS_A_PAGE);
    const all = await audits();
    for (const outcome of ['passed', 'failed']) {
      const index = all.findIndex(({ verdict }) => verdict.outcome === outcome);
      const { minerId, version, verdict } = all[index]!;
      for (let older = 0; older < Math.floor(index / AUDITS_A_PAGE); older++) {
        await feed.getByRole('button', { name: 'Older' }).click();
        await expect(feed.getByRole('status')).toHaveText(`Page ${older + 2}.`);
      }
      const row = rows.nth(index % AUDITS_A_PAGE);
      const opener = row.getByRole('button');
      await expect(opener).toHaveAccessibleName(new RegExp(`, step ${version.toLocaleString('en')}$`));
      await expect(row.getByRole('link')).toHaveAttribute('href', `/miner/${minerId}`);
      await expect(row).toContainText(outcome === 'passed' ? /passed.* not counted/ : /failed(?!.*not counted)/);
      await opener.focus();
      await page.keyboard.press('Enter');
      await expect(feed.getByText(verdict.finding)).toBeVisible();
      await expect(feed.getByText('It says nothing for the device')).toHaveCount(outcome === 'passed' ? 1 : 0);
      expect(verdict.checks.length).toBeGreaterThan(0);
      for (const check of verdict.checks) await expect(feed.getByRole('row', { name: told(check), exact: true })).toBeVisible();
      await page.keyboard.press('Enter');
      await expect(feed.getByText(verdict.finding)).toBeHidden();
      if (index >= AUDITS_A_PAGE) await feed.getByRole('button', { name: 'Newest' }).click();
      await expect(feed.getByRole('status')).toContainText('refreshed every few seconds');
    }
    await feed.getByRole('button', { name: 'Older' }).click();
    await expect(rows).toHaveCount(Math.min(AUDITS_A_PAGE, all.length - AUDITS_A_PAGE));
    await fits(page);
    await page.context().close();
  });

  test(`whose loss stands out, and who agrees, is told with the numbers of the run, on ${screen.name}`, async ({ browser }) => {
    const page = await (await browser.newContext(screen.options)).newPage();
    const asked = Promise.withResolvers<void>();
    await page.route('**/v1/attribution', async (route) => {
      await asked.promise;
      await route.continue();
    });
    await page.goto(`${server.url}/audits`);
    await expect(page.getByRole('region', { name: 'Newest audits' })).toBeVisible();
    await expect(page.getByRole('region', { name: /^(Loss attribution|Agreement)$/ }), 'what would move').toHaveCount(0);
    asked.resolve();
    const lines = await attribution();
    const rows = page
      .getByRole('region', { name: 'Loss attribution' })
      .getByRole('row')
      .filter({ has: page.getByRole('rowheader') });
    await expect(rows).toHaveCount(lines.length);
    for (const [i, { stage, minerId, samples, excess, zScore }] of lines.entries()) {
      await expect(rows.nth(i).getByRole('link')).toHaveAttribute('href', `/miner/${minerId}`);
      const cells = [`${stage}`, samples.toLocaleString('en'), signed(excess, 4), signed(zScore, 1)];
      await expect(rows.nth(i).getByRole('cell')).toHaveText(cells);
    }

    const { stages } = await run();
    const names = new Map(stages.flatMap((one) => one.miners).map(({ id, name }) => [id, name]));
    for (const [stage, pairs] of (await agreement()).entries()) {
      const map = page.getByRole('region', { name: 'Agreement', exact: true }).getByRole('table', { name: `Stage ${stage}`, exact: true });
      const heads = await map.getByRole('columnheader').allInnerTexts();
      const known = pairs.filter(({ pair }) => pair.every((id) => names.has(id)));
      expect(known.length).toBeGreaterThan(0);
      for (const { pair, compared, agreed } of known) {
        const [a, b] = pair.map((id) => names.get(id)!) as [string, string];
        for (const [row, column] of [
          [a, b],
          [b, a],
        ] as const) {
          const cells = map
            .getByRole('row')
            .filter({ has: page.getByRole('rowheader', { name: row, exact: true }) })
            .getByRole('cell');
          await expect(cells.nth(heads.indexOf(column))).toContainText(`${agreed} of ${compared} shard${compared === 1 ? '' : 's'} alike`);
        }
      }
    }
    await fits(page);
    await page.context().close();
  });
}
