/** What is drawn in the picture of the network, for tests that wait for it. */
import { type BrowserContext, expect, type Page } from '@playwright/test';

export type Mark = 'merges' | 'audits' | 'flights';

/**
 * Pages opened from now on write down what their picture of the network draws: around a stage that merges a stroke of three pixels, around
 * an audited miner a square, and what flies as a circle of 2.6 pixels. Nothing else in it is drawn so.
 */
export const watchPicture = (pages: BrowserContext | Page): Promise<unknown> =>
  pages.addInitScript(() => {
    const { stroke, strokeRect, arc } = CanvasRenderingContext2D.prototype;
    const seen = (picture: CanvasRenderingContext2D, name: Mark) => {
      if (picture.canvas.closest('.network-box')) document.documentElement.dataset[name] = '1';
    };
    Object.assign(CanvasRenderingContext2D.prototype, {
      stroke(this: CanvasRenderingContext2D, ...path: Path2D[]) {
        if (this.lineWidth === 3) seen(this, 'merges');
        Reflect.apply(stroke, this, path);
      },
      strokeRect(this: CanvasRenderingContext2D, ...place: number[]) {
        seen(this, 'audits');
        Reflect.apply(strokeRect, this, place);
      },
      arc(this: CanvasRenderingContext2D, ...circle: number[]) {
        if (circle[2] === 2.6) seen(this, 'flights');
        Reflect.apply(arc, this, circle);
      },
    });
  });

/** Each of these was drawn at least once since the page was loaded, or is soon. */
export async function drew(page: Page, marks: readonly Mark[]): Promise<void> {
  for (const mark of marks)
    await expect.poll(() => page.evaluate((name) => document.documentElement.dataset[name], mark), { message: mark }).toBe('1');
}
