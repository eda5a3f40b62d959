/** The screens on which a person's ways through the pages are driven: a desktop's with a mouse, and a small telephone's that is touched. */
import { type BrowserContextOptions, expect, type Page } from '@playwright/test';

export interface Screen {
  name: string;
  options: BrowserContextOptions & { viewport: { width: number; height: number } };
}

export const DESKTOP: Screen = { name: 'a desktop', options: { viewport: { width: 1280, height: 900 } } };
export const PHONE: Screen = { name: 'a telephone', options: { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true } };
export const SCREENS: readonly Screen[] = [DESKTOP, PHONE];

/** Nothing is cut off at the side. A chart takes the page's new width a moment after the page does. */
export async function fits(page: Page): Promise<void> {
  // Of the screen: a telephone makes its window as wide as what is in it.
  const sideways = async () => (await page.evaluate(() => document.documentElement.scrollWidth)) - page.viewportSize()!.width;
  await expect.poll(sideways, { message: 'scrolls sideways' }).toBeLessThanOrEqual(0);
}
