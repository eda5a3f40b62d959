/**
 * Headless miners: one Chromium, one tab per miner, each in a browser context of its own, so that no two share a
 * process, a session or a cache. A tab that crashes, or whose page cannot be reached, is opened again after a
 * pause of 1 s that doubles to 60 s; the server sees a miner leave and another join.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { SwarmError } from '@starling/protocol';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { openBrowser } from './browser.ts';

export type MinerBackend = 'auto' | 'webgpu' | 'wasm';

export interface LaunchOptions {
  /** Address of the server. */
  url: string;
  count: number;
  backend: MinerBackend;
  /** true: SwiftShader. false: the GPU. Absent: the GPU, or SwiftShader where Chromium finds none. */
  software?: boolean;
  headless?: boolean;
  /** Miners are called `${namePrefix}-1`, `-2`, … */
  namePrefix?: string;
  onEvent?: (event: TabEvent) => void;
}

export interface TabEvent {
  kind: 'opened' | 'crashed' | 'unreachable' | 'killed' | 'browser-closed';
  /** Tab number from 0; −1 when the whole browser is meant. */
  tab: number;
  message: string;
}

/** What a tab's page says about its miner (`data-miner-*` on its root element). */
export interface MinerPage {
  tab: number;
  name: string;
  /** `protocol`'s `Activity`, or `opening` before the page said anything, `killed` after `killTab`. */
  activity: string;
  backend: string;
  id: string;
  stage: number | null;
  microbatches: number;
}

export interface Miners {
  pages(): Promise<MinerPage[]>;
  /** Crashes a tab: nothing is unloaded, nobody is told. It stays dead, or with `comeBack` is opened again like after any crash. */
  killTab(tab: number, options?: { comeBack?: boolean }): Promise<void>;
  /** The WebGPU adapter as the pages see it, or null without one. */
  adapter(): string | null;
  /** Resolves when the browser is gone, through `close` or by itself. */
  closed: Promise<void>;
  close(): Promise<void>;
}

/** Pause before a tab is opened for the `failures`-th time since it last lived a minute, in milliseconds. */
export const pauseBefore = (failures: number): number => Math.min(1000 * 2 ** (failures - 1), 60_000);
/** A tab that lived this long, in milliseconds, starts again with the shortest pause. */
const SETTLED = 60_000;

/** Opens the tabs. Throws `CHROMIUM_MISSING`, or `WEBGPU_UNAVAILABLE` when WebGPU is asked for and there is none. */
export async function launchMiners(options: LaunchOptions): Promise<Miners> {
  const { browser, adapter } = await openBrowser(options);
  if (options.backend === 'webgpu' && adapter === null) {
    await browser.close();
    throw new SwarmError('WEBGPU_UNAVAILABLE', 'Chromium offers no WebGPU adapter.');
  }
  const report = options.onEvent ?? (() => {});
  const closing = new AbortController();
  const closed = new Promise<void>((resolve) => {
    browser.once('disconnected', () => {
      if (!closing.signal.aborted) report({ kind: 'browser-closed', tab: -1, message: 'Chromium ended by itself.' });
      closing.abort();
      resolve();
    });
  });
  const tabs = Array.from({ length: options.count }, (_, index) => new Tab(browser, index, options, report, closing.signal));
  await Promise.all(tabs.map((tab) => tab.open()));
  return {
    pages: () => Promise.all(tabs.map((tab) => tab.describe())),
    killTab: (index, { comeBack = false } = {}) => (tabs[index] ?? noSuchTab(index)).kill(comeBack),
    adapter: () => adapter,
    closed,
    close: async () => {
      closing.abort();
      await browser.close();
    },
  };
}

function noSuchTab(index: number): never {
  throw new SwarmError('CONFIG_INVALID', `There is no tab ${index}.`);
}

class Tab {
  readonly #browser: Browser;
  readonly #index: number;
  readonly #name: string;
  readonly #address: string;
  readonly #report: (event: TabEvent) => void;
  readonly #closing: AbortSignal;
  #context: BrowserContext | null = null;
  #page: Page | null = null;
  #killed = false;
  #failures = 0;
  #openedAt = 0;

  constructor(browser: Browser, index: number, options: LaunchOptions, report: (event: TabEvent) => void, closing: AbortSignal) {
    this.#browser = browser;
    this.#index = index;
    this.#name = `${options.namePrefix ?? 'headless'}-${index + 1}`;
    const query = new URLSearchParams({ autostart: '1', backend: options.backend, name: this.#name });
    this.#address = new URL(`/?${query}`, options.url).href;
    this.#report = report;
    this.#closing = closing;
  }

  async open(): Promise<void> {
    this.#openedAt = performance.now();
    let over = false; // a crash while the page loads is one failure, not two
    const fail = (kind: 'crashed' | 'unreachable', message: string) => {
      if (!over) this.#again(kind, `${this.#name}: ${message}`);
      over = true;
    };
    try {
      this.#context = await this.#browser.newContext();
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
    if (this.#killed || this.#closing.aborted) return;
    this.#page = null;
    this.#failures = performance.now() - this.#openedAt > SETTLED ? 1 : this.#failures + 1;
    const pause = pauseBefore(this.#failures);
    this.#tell(kind, `${message}; opened again in ${pause / 1000} s`);
    await this.#context?.close().catch(() => {});
    await sleep(pause, undefined, { signal: this.#closing }).catch(() => {});
    if (!this.#killed && !this.#closing.aborted) await this.open();
  }

  #tell(kind: TabEvent['kind'], message: string): void {
    if (!this.#closing.aborted) this.#report({ kind, tab: this.#index, message });
  }
}
