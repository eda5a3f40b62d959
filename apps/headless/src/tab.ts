/** One miner: a tab in a context of its own, opened again after a crash. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { provideHotkey, WALLET } from './hotkey.ts';
import type { LaunchOptions, MinerBackend } from './launch.ts';
import { pauseBefore, SETTLED_MS } from './pauses.ts';

export interface TabEvent {
  kind: 'opened' | 'crashed' | 'unreachable' | 'killed' | 'finished' | 'browser-closed';
  /** Tab number from 0; −1 when a whole browser is meant. */
  tab: number;
  message: string;
}

/** What a tab's page says about its miner (`data-miner-*` on its root element). */
export interface MinerPage {
  tab: number;
  name: string;
  /** `protocol`'s `Activity`, or `opening` before the page said anything, `killed` after `kill`. */
  activity: string;
  backend: string;
  id: string;
  stage: number | null;
  microbatches: number;
}

/** A page that does not say that it has finished is closed all the same: longer than a miner gives itself. */
const FINISH_MS = 130_000;

export class Tab {
  readonly #index: number;
  readonly #name: string;
  readonly #options: LaunchOptions;
  readonly #report: (event: TabEvent) => void;
  readonly #closing: AbortSignal;
  #browser: Browser | null = null;
  #address = '';
  #context: BrowserContext | null = null;
  #page: Page | null = null;
  #killed = false;
  #finishing = false;
  #failures = 0;
  #openedAt = 0;

  constructor(index: number, options: LaunchOptions, report: (event: TabEvent) => void, closing: AbortSignal) {
    this.#index = index;
    this.#options = options;
    this.#name = `${options.namePrefix ?? 'headless'}-${index + 1}`;
    this.#report = report;
    this.#closing = closing;
  }

  /** Never throws: what cannot be opened is tried again. */
  async open(browser: Browser, backend: MinerBackend): Promise<void> {
    if (this.#killed) return;
    const { url, intensity, hotkey } = this.#options;
    const query = new URLSearchParams({ autostart: '1', backend, name: this.#name });
    if (this.#options.headless !== false) query.set('lean', '1');
    if (intensity !== undefined) query.set('intensity', String(intensity));
    if (hotkey) query.set('wallet', WALLET);
    this.#browser = browser;
    this.#address = new URL(`/?${query}`, url).href;
    await this.#open();
  }

  async #open(): Promise<void> {
    const browser = this.#browser;
    if (!browser) return;
    this.#openedAt = performance.now();
    let over = false; // a crash while the page loads is one failure, not two
    const fail = (kind: 'crashed' | 'unreachable', message: string) => {
      // With its browser: that is told, and mended, once for all tabs.
      if (!over && this.#browser === browser && browser.isConnected()) void this.#again(kind, `${this.#name}: ${message}`);
      over = true;
    };
    try {
      this.#context = await browser.newContext({ reducedMotion: 'reduce' });
      if (this.#options.hotkey) await provideHotkey(this.#context, this.#options.hotkey);
      const page = await this.#context.newPage();
      page.once('crash', () => fail('crashed', 'the tab crashed'));
      await page.goto(this.#address);
      this.#page = page;
      this.#tell('opened', `${this.#name}: opened`);
    } catch (error) {
      const [why] = String(error instanceof Error ? error.message : error).split('\n');
      fail('unreachable', `the page could not be opened (${why})`);
    }
  }

  /** Its browser is gone. */
  lose(): void {
    this.#browser = null;
    this.#page = null;
    this.#context = null;
  }

  async describe(): Promise<MinerPage> {
    const said: DOMStringMap = this.#page
      ? await this.#page.evaluate(() => ({ ...document.documentElement.dataset })).catch(() => ({}))
      : {};
    return {
      tab: this.#index,
      name: this.#name,
      activity: this.#killed ? 'killed' : said.minerActivity || 'opening',
      backend: said.minerBackend ?? '',
      id: said.minerId ?? '',
      stage: said.minerStage ? Number(said.minerStage) : null,
      microbatches: Number(said.minerMicrobatches ?? 0),
    };
  }

  /** Completes what is under way. Never throws: a page that cannot is simply closed afterwards. */
  async finish(): Promise<void> {
    const page = this.#page;
    this.#finishing = true;
    if (!page || this.#killed) return;
    try {
      await page.evaluate(() => (window as unknown as { starling: { finish(): void } }).starling.finish());
      await page.waitForFunction(() => document.documentElement.dataset.minerActivity === 'stopped', undefined, { timeout: FINISH_MS });
      this.#tell('finished', `${this.#name}: finished`);
    } catch {
      // It crashed meanwhile, or never came so far.
    }
  }

  async kill(comeBack: boolean): Promise<void> {
    const page = this.#page;
    if (!comeBack) {
      this.#killed = true;
      this.#page = null;
    }
    if (page) {
      const session = await page.context().newCDPSession(page);
      const crashed = page.waitForEvent('crash');
      session.send('Page.crash').catch(() => {}); // a dead renderer answers nothing
      await crashed;
    }
    if (comeBack) return;
    this.#tell('killed', `${this.#name}: killed`);
    await this.#context?.close().catch(() => {});
  }

  /** Reports a failed tab and opens it again after a pause, unless it is meant to be dead. */
  async #again(kind: 'crashed' | 'unreachable', message: string): Promise<void> {
    const browser = this.#browser;
    const isOver = () => this.#killed || this.#finishing || this.#closing.aborted || this.#browser !== browser;
    if (isOver()) return;
    this.#page = null;
    this.#failures = performance.now() - this.#openedAt > SETTLED_MS ? 1 : this.#failures + 1;
    const pause = pauseBefore(this.#failures);
    this.#tell(kind, `${message}; opened again in ${pause / 1000} s`);
    await this.#context?.close().catch(() => {});
    await sleep(pause, undefined, { signal: this.#closing }).catch(() => {});
    if (!isOver()) await this.#open();
  }

  #tell(kind: TabEvent['kind'], message: string): void {
    this.#report({ kind, tab: this.#index, message });
  }
}
