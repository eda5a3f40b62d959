/**
 * Headless miners: tabs in one or more Chromiums, each tab a miner in a browser context of its own, so that no two share a process, a
 * session or a cache. A tab that crashes or falls silent, whose page cannot be reached or whose miner stopped with an error is opened
 * again, and so is a browser that ends by itself with all its tabs, after a pause of 1 s that doubles to 60 s; the server sees a miner
 * leave and another join.
 */

import type { Sr25519Key } from '@starling/chain';
import { SwarmError } from '@starling/protocol';
import type { SoftwareGpu } from './browser.ts';
import { BrowserSlot } from './browser-slot.ts';
import type { MinerPage, Tab, TabEvent } from './tab.ts';

export type { SoftwareGpu } from './browser.ts';
export type { MinerPage, TabEvent } from './tab.ts';
export type MinerBackend = 'auto' | 'webgpu' | 'wasm';

export interface LaunchOptions {
  /** Address of the server. */
  url: string;
  count: number;
  backend: MinerBackend;
  /** Tabs in one browser, at most: what a browser takes with it when it ends. Default: all. */
  tabsPerBrowser?: number;
  /** Whether a GPU imitated on the CPU will do. Default: where there is no other. */
  software?: SoftwareGpu;
  headless?: boolean;
  /** Miners are called `${namePrefix}-1`, `-2`, …; of a long one its beginning. */
  namePrefix?: string;
  /** Share of the time in which they compute, 0.1 to 1. */
  intensity?: number;
  /** What each computes with on WebAssembly, 8 at most. Default: the cores of this machine, shared by all `count`. */
  threads?: number;
  /** Whom they mine for; absent: each tab for itself, as a guest. */
  hotkey?: Sr25519Key;
  /** How long a page may take to say what its miner does, in ms; it is asked as often, and given up after twelve times as long. Default: 5 s. */
  answerMs?: number;
  onEvent?: (event: TabEvent) => void;
  /** The first browser is there: told once, before its tabs are opened. */
  onBrowser?: () => void;
}

export class Miners {
  /** Resolves when `close` or `finish` is done. */
  readonly closed: Promise<void>;
  /** Resolves with what stopped the last tab, once each was stopped by something that would stop it again. */
  readonly exhausted: Promise<SwarmError>;
  readonly #slots: BrowserSlot[] = [];
  readonly #tabs: readonly Tab[];
  readonly #closing = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  readonly #exhausted = Promise.withResolvers<SwarmError>();
  #opening: Promise<void> | null = null;

  /** Starts nothing yet. */
  constructor(given: LaunchOptions) {
    const options: LaunchOptions = { software: 'allowed', ...given };
    const { count, tabsPerBrowser = Math.max(1, count), onEvent = () => {} } = options;
    let { onBrowser } = options;
    const begun = () => {
      onBrowser?.();
      onBrowser = undefined;
    };
    const report = (event: TabEvent) => {
      if (this.#closing.signal.aborted) return;
      onEvent(event);
      const { lasting } = this.#tabs[event.tab] ?? {};
      if (lasting && this.#tabs.every((tab) => tab.isOver)) this.#exhausted.resolve(SwarmError.fromWire(lasting));
    };
    for (let first = 0; first === 0 || first < count; first += tabsPerBrowser)
      this.#slots.push(new BrowserSlot(options, [first, Math.min(tabsPerBrowser, count - first)], report, begun, this.#closing.signal));
    this.#tabs = this.#slots.flatMap((slot) => slot.tabs);
    this.closed = this.#closed.promise;
    this.exhausted = this.#exhausted.promise;
  }

  /** Opens the tabs, until `finish` or `close`. Throws `CHROMIUM_MISSING`, `CONFIG_INVALID` for a window without a display, or `GPU_MISSING` when WebGPU is asked for and there is none. */
  async open(): Promise<void> {
    try {
      this.#opening = this.#openSlots();
      await this.#opening;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #openSlots(): Promise<void> {
    for (const slot of this.#slots) await slot.open();
  }

  pages(): Promise<MinerPage[]> {
    return Promise.all(this.#tabs.map((tab) => tab.describe()));
  }

  /** Crashes a tab: nothing is unloaded, nobody is told. It stays dead, or with `comeBack` is opened again like after any crash. */
  killTab(tab: number, { comeBack = false } = {}): Promise<void> {
    return (this.#tabs[tab] ?? noSuchTab(tab)).kill(comeBack);
  }

  /** Crashes the browser that this tab is in; another takes its place. */
  killBrowser(tab: number): Promise<void> {
    return (this.#slots.find((slot) => slot.tabs.includes(this.#tabs[tab]!)) ?? noSuchTab(tab)).kill();
  }

  /** The WebGPU adapter as the pages see it, or null without one. */
  adapter(): string | null {
    return this.#slots[0]!.adapter;
  }

  /** Whether the pages are confined by Chromium's sandbox. */
  sandboxed(): boolean {
    return this.#slots[0]!.sandboxed;
  }

  /** Opens no more; each tab completes what is under way, and then all is closed. */
  async finish(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.finish()));
    await this.close();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#slots.map((slot) => slot.close()));
    await this.#opening?.catch(() => {}); // a browser that was being started closes itself; `open` tells what went wrong
    this.#closed.resolve();
  }
}

/** Miners whose tabs are open. Throws as `Miners.open` does. */
export async function launchMiners(options: LaunchOptions): Promise<Miners> {
  const miners = new Miners(options);
  await miners.open();
  return miners;
}

function noSuchTab(index: number): never {
  throw new SwarmError('CONFIG_INVALID', `There is no tab ${index}.`);
}
