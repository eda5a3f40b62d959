/** One miner: a tab in a context of its own, opened again after a crash. */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, MAX_NAME, type WireError } from '@starling/protocol';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { provideHotkey, WALLET } from './hotkey.ts';
import type { LaunchOptions, MinerBackend } from './launch.ts';
import { pauseBefore, SETTLED_MS } from './pauses.ts';

type Failure = 'crashed' | 'unreachable' | 'stopped';

export interface TabEvent {
  kind: 'opened' | 'crashed' | 'unreachable' | 'stopped' | 'killed' | 'finished' | 'browser-closed';
  /** Tab number from 0; −1 when a whole browser is meant. */
  tab: number;
  message: string;
}

/** What a tab's page says about its miner (`data-miner-*` on its root element). */
export interface MinerPage {
  tab: number;
  name: string;
  /** `protocol`'s `Activity`, or `opening` before the page said anything, `unresponsive` when it does not answer, `stopped` for good, `killed` after `kill`. */
  activity: string;
  /** Code of what it waits for, or what went wrong; empty while it works. */
  reason: string;
  backend: string;
  id: string;
  stage: number | null;
  /** Receipts accepted, by all pages that this tab had. */
  microbatches: number;
  /** Receipts refused, likewise. */
  refused: number;
  /** Over the last 30 s. */
  tokensPerSecond: number;
  /** How often it was opened again. */
  restarts: number;
  /** How often it crashed, was out of reach, or its miner stopped with an error. */
  failures: number;
}

/** A page that does not say that it has finished is closed all the same: longer than a miner gives itself. */
const FINISH_MS = 130_000;

const ANSWER_MS = 5000;

/** A page that says nothing of its miner for so many `answerMs` is given up. */
const PATIENCE = 12;

/** What stopped a miner, or let none begin, and would again on this machine. */
export const LASTING: ReadonlySet<ErrorCode> = new Set(['BAD_MESSAGE', 'DEVICE_WRONG', 'GPU_MISSING', 'INSECURE_CONTEXT', 'MEMORY_SHORT']);

/** What `apps/web` tells automation. */
type Starling = Window & { starling?: { state?: { error: WireError | null } | null; finish(): void } };

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
  /** The page's last words; kept while it does not answer. */
  #said: DOMStringMap = {};
  /** What the pages before this one had counted. */
  #earlier = { microbatches: 0, refused: 0 };
  /** When the page that said so was loaded, Unix ms. */
  #loadedAt = 0;
  #saidAt = 0;
  #answers = true;
  #killed = false;
  #lasting: WireError | null = null;
  #finishing = false;
  #opened = 0;
  #failures = 0;
  #failuresInARow = 0;
  #openedAt = 0;

  constructor(index: number, options: LaunchOptions, report: (event: TabEvent) => void, closing: AbortSignal) {
    this.#index = index;
    this.#options = options;
    const number = `-${index + 1}`;
    this.#name = `${(options.namePrefix ?? 'headless').slice(0, MAX_NAME - number.length)}${number}`;
    this.#report = report;
    this.#closing = closing;
  }

  /** What stopped its miner for good; null while it may mine. */
  get lasting(): WireError | null {
    return this.#lasting;
  }

  get isOver(): boolean {
    return this.#killed || this.#lasting !== null;
  }

  /** Never throws: what cannot be opened is tried again. */
  async open(browser: Browser, backend: MinerBackend): Promise<void> {
    if (this.isOver) return;
    const { url, count, intensity, hotkey, threads = Math.max(1, Math.floor(availableParallelism() / count)) } = this.#options;
    const query = new URLSearchParams({ autostart: '1', backend, name: this.#name, threads: String(threads) });
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
    const fail = (kind: Failure, message: string) => {
      // With its browser: that is told, and mended, once for all tabs.
      if (!over && this.#browser === browser && browser.isConnected()) void this.#again(kind, `${this.#name}: ${message}`);
      over = true;
    };
    try {
      this.#context = await browser.newContext({ reducedMotion: 'reduce' });
      if (this.#finishing) return;
      if (this.#options.hotkey) await provideHotkey(this.#context, this.#options.hotkey);
      const page = await this.#context.newPage();
      page.once('crash', () => fail('crashed', 'the tab crashed'));
      const response = await page.goto(this.#address);
      if (response && !response.ok()) throw new Error(`HTTP ${response.status()}`);
      this.#page = page;
      this.#opened++;
      this.#earlier = this.#counted();
      this.#said = {};
      this.#saidAt = performance.now();
      this.#tell('opened', `${this.#name}: opened`);
      void this.#watch(page, fail);
    } catch (error) {
      const [why] = String(error instanceof Error ? error.message : error).split('\n');
      fail('unreachable', `the page could not be opened (${why})`);
    }
  }

  /** Its browser is gone. */
  lose(): void {
    if (this.#browser && !this.isOver) this.#failures++;
    this.#browser = null;
    this.#page = null;
    this.#context = null;
  }

  async describe(): Promise<MinerPage> {
    if (this.#page) await this.#ask(this.#page);
    const said = this.#page ? this.#said : {};
    const activity = this.#page && !this.#answers ? 'unresponsive' : said.minerActivity || 'opening';
    const { microbatches, refused } = this.#counted();
    return {
      tab: this.#index,
      name: this.#name,
      activity: this.#killed ? 'killed' : this.#lasting ? 'stopped' : activity,
      reason: said.minerReason ?? '',
      backend: said.minerBackend ?? '',
      id: said.minerId ?? '',
      stage: said.minerStage ? Number(said.minerStage) : null,
      microbatches,
      refused,
      tokensPerSecond: Number(said.minerTokensPerSecond ?? 0),
      restarts: Math.max(0, this.#opened - 1),
      failures: this.#failures,
    };
  }

  #counted(): { microbatches: number; refused: number } {
    const { minerMicrobatches = 0, minerRefused = 0 } = this.#said;
    return {
      microbatches: this.#earlier.microbatches + Number(minerMicrobatches),
      refused: this.#earlier.refused + Number(minerRefused),
    };
  }

  /** Asks the page what its miner does, and what stopped it. A hung renderer never answers, and must not keep others waiting. */
  async #ask(page: Page): Promise<WireError | null> {
    const question = page.evaluate(() => ({
      said: { ...document.documentElement.dataset },
      loadedAt: performance.timeOrigin,
      error: (window as Starling).starling?.state?.error ?? null,
    }));
    const answer = await within(this.#options.answerMs ?? ANSWER_MS, question).catch(() => null);
    if (this.#page !== page) return null;
    this.#answers = answer !== null;
    if (!answer) return null;
    if (answer.loadedAt !== this.#loadedAt) {
      // By itself, or just by this tab: it counts from 0.
      this.#earlier = this.#counted();
      this.#loadedAt = answer.loadedAt;
    }
    this.#said = answer.said;
    if (answer.said.minerActivity) this.#saidAt = performance.now();
    return answer.said.minerActivity === 'stopped' ? answer.error : null;
  }

  /** Notices a miner that stopped by itself, and a page that says nothing of a miner (any more). */
  async #watch(page: Page, fail: (kind: Failure, message: string) => void): Promise<void> {
    const { answerMs = ANSWER_MS } = this.#options;
    while (this.#page === page && !this.#closing.aborted) {
      const error = await this.#ask(page);
      if (this.#page !== page) return;
      if (!this.#said.minerActivity && (await this.#isElsewhere(page)))
        return fail(
          'unreachable',
          `${new URL(this.#address).origin} is no Starling server: it knows no /v1/run; --url is to be that of one`,
        );
      if (error) {
        const message = `the miner stopped: ${error.message} ${error.hint} [${error.code}]`;
        if (!LASTING.has(error.code)) return fail('stopped', message);
        this.#lasting = error;
        this.#failures++;
        this.#tell('stopped', `${this.#name}: ${message}`);
        return;
      }
      const silence = performance.now() - this.#saidAt;
      if (silence > PATIENCE * answerMs) return fail('crashed', `the page said nothing of its miner for ${Math.round(silence / 1000)} s`);
      await sleep(answerMs, undefined, { signal: this.#closing, ref: false }).catch(() => {});
    }
  }

  /** Whether what answers at this address is something else than a server. One that is away, or does not answer now, may be one. */
  async #isElsewhere(page: Page): Promise<boolean> {
    try {
      const answer = await page.request.head(new URL('/v1/run', this.#address).href, { timeout: this.#options.answerMs ?? ANSWER_MS });
      return answer.status() === 404 || (answer.ok() && !answer.headers()['content-type']?.startsWith('application/json'));
    } catch {
      return false;
    }
  }

  /** Completes what is under way. Never throws: a page that cannot is simply closed afterwards. */
  async finish(): Promise<void> {
    const page = this.#page;
    this.#finishing = true;
    if (this.isOver) return;
    if (!page) return void (await this.#context?.close().catch(() => {})); // it was being opened: it is to take nothing
    const finished = async () => {
      await page.evaluate(() => (window as Starling).starling!.finish());
      await page.waitForFunction(() => document.documentElement.dataset.minerActivity === 'stopped', undefined, { timeout: FINISH_MS });
      await this.#ask(page); // for what it counted to its end
    };
    try {
      await within(FINISH_MS, finished());
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
  async #again(kind: Failure, message: string): Promise<void> {
    const browser = this.#browser;
    const isLeft = () => this.isOver || this.#finishing || this.#closing.aborted || this.#browser !== browser;
    if (isLeft()) return;
    this.#page = null;
    this.#failures++;
    this.#failuresInARow = performance.now() - this.#openedAt > SETTLED_MS ? 1 : this.#failuresInARow + 1;
    const pause = pauseBefore(this.#failuresInARow);
    this.#tell(kind, `${message}; opened again in ${pause / 1000} s`);
    await this.#context?.close().catch(() => {});
    await sleep(pause, undefined, { signal: this.#closing }).catch(() => {});
    if (!isLeft()) await this.#open();
  }

  #tell(kind: TabEvent['kind'], message: string): void {
    this.#report({ kind, tab: this.#index, message });
  }
}

/** Rejects when `promise` takes longer. */
const within = <T>(ms: number, promise: Promise<T>): Promise<T> =>
  Promise.race([promise, sleep(ms, undefined, { ref: false }).then(() => Promise.reject(new Error(`No answer in ${ms} ms.`)))]);
