/** Files that pages save. */
import { readFileSync } from 'node:fs';
import type { Locator, Page } from '@playwright/test';

/** Lines and fields of a file that the page saves at a click on this button; the first line has the names. */
export async function csv(page: Page, button: Locator): Promise<{ name: string; lines: string[][] }> {
  const [download] = await Promise.all([page.waitForEvent('download'), button.click()]);
  const lines = readFileSync(await download.path(), 'utf8')
    .trimEnd()
    .split('\r\n');
  return { name: download.suggestedFilename(), lines: lines.map((line) => line.split(',')) };
}
