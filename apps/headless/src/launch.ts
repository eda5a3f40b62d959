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
import type { MinerPage, TabEvent } from './tab.ts';

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
  /** Miners are called `${namePrefix}-1`, `-2`, … */
  namePrefix?: string;
  /** Share of the time in which they compute, 0.1 to 1. */
  intensity?: number;
  /** Whom they mine for; absent: each tab for itself, as a guest. */
  hotkey?: Sr25519Key;
  /** How long a page may take to say what its miner does, in ms; it is asked as often, and given up after twelve times as long. Default: 5 s. */
  answerMs?: number;
  onEvent?: (event: TabEvent) => void;
}

export interface Miners {
  pages(): Promise<MinerPage[]>;
  /** Crashes a tab: nothing is unloaded, nobody is told. It stays dead, or with `comeBack` is opened again like after any crash. */
  killTab(tab: number, options?: { comeBack?: boolean }): Promise<void>;
  /** Crashes the browser that this tab is in; another takes its place. */
  killBrowser(tab: number): Promise<void>;
  /** The WebGPU adapter as the pages see it, or null without one. */
  adapter(): string | null;
  /** Whether the pages are confined by Chromium's sandbox. */
  sandboxed(): boolean;
  /** Resolves when `close` or `finish` is done. */
  closed: Promise<void>;
  /** Each completes what is under way, and then all is closed. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

/** Opens the tabs. Throws `CHROMIUM_MISSING`, or `WEBGPU_UNAVAILABLE` when WebGPU is asked for and there is none. */
export async function launchMiners(given: LaunchOptions): Promise<Miners> {
  const options: LaunchOptions = { software: 'allowed', ...given };
  const { count, tabsPerBrowser = Math.max(1, count), onEvent = () => {} } = options;
  const closing = new AbortController();
  const closed = Promise.withResolvers<void>();
  const report = (event: TabEvent) => {
    if (!closing.signal.aborted) onEvent(event);
  };
  const slots: BrowserSlot[] = [];
  const close = async () => {
    closing.abort();
    await Promise.all(slots.map((slot) => slot.close()));
    closed.resolve();
  };
  try {
    for (let first = 0; first === 0 || first < count; first += tabsPerBrowser) {
      const slot = new BrowserSlot(options, first, Math.min(tabsPerBrowser, count - first), report, closing.signal);
      slots.push(slot);
      await slot.open();
    }
  } catch (error) {
    await close();
    throw error;
  }
  const tabs = slots.flatMap((slot) => slot.tabs);
  return {
    pages: () => Promise.all(tabs.map((tab) => tab.describe())),
    killTab: (index, { comeBack = false } = {}) => (tabs[index] ?? noSuchTab(index)).kill(comeBack),
    killBrowser: (index) => (slots.find((slot) => slot.tabs.includes(tabs[index]!)) ?? noSuchTab(index)).kill(),
    adapter: () => slots[0]!.adapter,
    sandboxed: () => slots[0]!.sandboxed,
    closed: closed.promise,
    finish: async () => {
      await Promise.all(tabs.map((tab) => tab.finish()));
      await close();
    },
    close,
  };
}

function noSuchTab(index: number): never {
  throw new SwarmError('CONFIG_INVALID', `There is no tab ${index}.`);
}
