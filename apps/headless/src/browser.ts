/** Starts a Chromium, and chooses between its GPU and its software renderer. */
import { SwarmError } from '@starling/protocol';
import { type Browser, chromium } from 'playwright-core';

export type SoftwareGpu = 'never' | 'allowed' | 'always';

export interface BrowserOptions {
  /** Page that will be opened: a plain http address other than localhost is declared secure, or WebGPU would hide. */
  url: string;
  /** A GPU imitated on the CPU: never, where Chromium finds no other, or in any case. Default: never. */
  software?: SoftwareGpu;
  headless?: boolean;
}

/** A miner's page never needs the network but for its server, and never a dialog. */
const FLAGS = [
  '--enable-unsafe-webgpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-first-run',
];
const SOFTWARE = '--use-webgpu-adapter=swiftshader';
/**
 * By platform: how a Chromium that draws no window reaches the GPU. On Linux through Vulkan, which it leaves off by itself; on macOS
 * through Metal, on Windows through Direct3D 12, which WebGPU takes anyway, while the page is drawn through ANGLE.
 */
const HARDWARE: Partial<Record<NodeJS.Platform, string[]>> = {
  linux: ['--enable-features=Vulkan', '--use-angle=vulkan', '--ignore-gpu-blocklist'],
  darwin: ['--use-angle=metal', '--ignore-gpu-blocklist'],
  win32: ['--use-angle=d3d11', '--ignore-gpu-blocklist'],
};
const IMITATED = /swiftshader|llvmpipe|lavapipe|basic render|warp/i;

export interface OpenBrowser {
  browser: Browser;
  /** The WebGPU adapter its pages see (`vendor architecture description`), or null without one. */
  adapter: string | null;
  sandboxed: boolean;
}

export async function openBrowser(options: BrowserOptions): Promise<OpenBrowser> {
  const { software = 'never' } = options;
  if (software !== 'always') {
    const found = await start(options, HARDWARE[process.platform] ?? []);
    const adapter = found.adapter !== null && IMITATED.test(found.adapter) ? null : found.adapter;
    if (adapter !== null || software === 'never') return { ...found, adapter };
    await found.browser.close();
  }
  return start(options, [SOFTWARE]);
}

/** Whether Chromium's sandbox works here: never for root, and else the first start tells. */
let sandbox: boolean | null = process.getuid?.() === 0 ? false : null;

/** In its sandbox where that works: the page comes from a stranger's server, and this user's files hold a hotkey. */
async function start(options: BrowserOptions, flags: string[]): Promise<OpenBrowser> {
  if (sandbox !== null) return launch(options, flags, sandbox);
  try {
    const opened = await launch(options, flags, true);
    sandbox = true;
    return opened;
  } catch {
    const opened = await launch(options, flags, false);
    sandbox = false;
    return opened;
  }
}

async function launch({ url, headless = true }: BrowserOptions, flags: string[], sandboxed: boolean): Promise<OpenBrowser> {
  const args = [...FLAGS, ...flags, `--unsafely-treat-insecure-origin-as-secure=${new URL(url).origin}`];
  let browser: Browser;
  try {
    const options = { executablePath: process.env.CHROMIUM_PATH, headless, args, chromiumSandbox: sandboxed };
    // Signals are the caller's to handle: it closes the tabs in order first.
    browser = await chromium.launch({ ...options, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });
  } catch (error) {
    const { message } = error as Error;
    if (!headless && /X ?Server|DISPLAY|wayland/i.test(message))
      throw new SwarmError('CONFIG_INVALID', '--window needs a display, and Chromium finds none here.', { cause: error });
    const [why] = message.split('\n');
    throw new SwarmError('CHROMIUM_MISSING', `Chromium could not be started: ${why}.`, { cause: error });
  }
  try {
    return { browser, adapter: await adapterOf(browser, url), sandboxed };
  } catch (error) {
    await browser.close();
    throw error;
  }
}

/** Asks from an empty page of the same origin, served from here: the server need not be up. */
async function adapterOf(browser: Browser, url: string): Promise<string | null> {
  const page = await browser.newPage();
  await page.route('**/*', (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }));
  await page.goto(url);
  const description = await page.evaluate(async () => {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) return null;
    const { vendor, architecture, device, description } = adapter.info;
    return [vendor, architecture, device, description].filter(Boolean).join(' ') || 'unnamed adapter';
  });
  await page.close();
  return description;
}
