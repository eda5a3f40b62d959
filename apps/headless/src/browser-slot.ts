/** One browser and its tabs. When it ends by itself, another takes its place. */
import { setTimeout as sleep } from 'node:timers/promises';
import { SwarmError } from '@starling/protocol';
import type { Browser } from 'playwright-core';
import { openBrowser } from './browser.ts';
import type { LaunchOptions } from './launch.ts';
import { pauseBefore, SETTLED_MS } from './pauses.ts';
import { Tab, type TabEvent } from './tab.ts';

export class BrowserSlot {
  readonly tabs: readonly Tab[];
  adapter: string | null = null;
  sandboxed = false;
  readonly #options: LaunchOptions;
  readonly #report: (event: TabEvent) => void;
  readonly #begun: () => void;
  readonly #closing: AbortSignal;
  #browser: Browser | null = null;
  #finishing = false;
  #failures = 0;
  #openedAt = 0;

  /** Its tabs are those from `first` on. `begun`: called whenever a browser is there, before its tabs are. */
  constructor(
    options: LaunchOptions,
    [first, count]: readonly [first: number, count: number],
    report: (event: TabEvent) => void,
    begun: () => void,
    closing: AbortSignal,
  ) {
    this.#options = options;
    this.#begun = begun;
    this.#report = report;
    this.#closing = closing;
    this.tabs = Array.from({ length: count }, (_, i) => new Tab(first + i, options, report, closing));
  }

  get #isOver(): boolean {
    return this.#finishing || this.#closing.aborted;
  }

  /** Does nothing once it is to finish, or closed. Throws `CHROMIUM_MISSING`, `CONFIG_INVALID` or `GPU_MISSING`. */
  async open(): Promise<void> {
    if (this.#isOver) return;
    this.#openedAt = performance.now();
    const { browser, adapter, sandboxed } = await openBrowser(this.#options);
    this.#browser = browser;
    this.adapter = adapter;
    this.sandboxed = sandboxed;
    if (this.#isOver) {
      await browser.close();
      return;
    }
    if (this.#options.backend === 'webgpu' && adapter === null) {
      await browser.close();
      throw new SwarmError('GPU_MISSING', 'Chromium finds no GPU here, and WebGPU was asked for.');
    }
    browser.once('disconnected', () => void this.#again());
    this.#begun();
    // Without a GPU, `auto` is the CPU: its page would take the imitation.
    const backend = this.#options.backend === 'auto' && adapter === null ? 'wasm' : this.#options.backend;
    await Promise.all(this.tabs.map((tab) => tab.open(browser, backend)));
  }

  /** As when it crashes. */
  async kill(): Promise<void> {
    const browser = this.#browser;
    if (!browser) return;
    const gone = new Promise<void>((resolve) => browser.once('disconnected', () => resolve()));
    const session = await browser.newBrowserCDPSession();
    session.send('Browser.crash').catch(() => {}); // a dead browser answers nothing
    await gone;
  }

  /** Never throws; the browser is left open. */
  async finish(): Promise<void> {
    this.#finishing = true;
    await Promise.all(this.tabs.map((tab) => tab.finish()));
  }

  async close(): Promise<void> {
    await this.#browser?.close();
  }

  async #again(): Promise<void> {
    while (!this.#isOver) {
      this.#failures = performance.now() - this.#openedAt > SETTLED_MS ? 1 : this.#failures + 1;
      const pause = pauseBefore(this.#failures);
      for (const tab of this.tabs) tab.lose();
      this.#report({ kind: 'browser-closed', tab: -1, message: `Chromium ended by itself; it is started again in ${pause / 1000} s` });
      await sleep(pause, undefined, { signal: this.#closing }).catch(() => {});
      if (this.#isOver) return;
      try {
        await this.open();
        return;
      } catch (error) {
        this.#report({ kind: 'browser-closed', tab: -1, message: SwarmError.from(error).message });
      }
    }
  }
}
