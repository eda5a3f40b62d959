import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { faultTable } from './fault-table.ts';

const DOCUMENT = resolve(import.meta.dirname, '../../../docs/verification.md');

it('every fault at every boundary loses no microbatch, and costs what docs/verification.md says', { timeout: 120_000 }, async () => {
  const { markdown, broken, cells } = await faultTable();
  expect(broken).toEqual([]);
  expect(cells).toBeGreaterThan(140);
  expect(readFileSync(DOCUMENT, 'utf8'), 'refresh it with `npm run simulate -- --table`').toContain(markdown);
});
