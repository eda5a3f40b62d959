/** Starts the one Chromium that all tabs share, and chooses between its GPU and its software renderer. */
import { SwarmError } from '@starling/protocol';
import { type Browser, chromium } from 'playwright-core';

export interface BrowserOptions {
  /** Page that will be opened: a plain http address other than localhost is declared secure, or WebGPU would hide. */
  url: string;
  /** true: SwiftShader on the CPU. false: the GPU. Absent: the GPU, or SwiftShader where Chromium finds none. */
  software?: boolean;
  headless?: boolean;
}

/** A miner's page never needs the network but for its server, and never a dialog. */
const FLAGS = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-quic',
  '--no-first-run',
];
const SOFTWARE = '--use-webgpu-adapter=swiftshader';
/** Chromium on Linux reaches a GPU's WebGPU through Vulkan, which it leaves off when it draws no window. */
const HARDWARE = process.platform === 'linux' ? ['--enable-features=Vulkan', '--ignore-gpu-blocklist'] : [];

/** The browser and the WebGPU adapter its pages see (`vendor architecture description`), or null without one. */
export async function openBrowser(options: BrowserOptions): Promise<{ browser: Browser; adapter: string | null }> {
  if (options.software !== true) {
    const found = await start(options, HARDWARE);
    if (found.adapter !== null || options.software === false) return found;
    await found.browser.close();
  }
  return start(options, [SOFTWARE]);
}

async function start({ url, headless = true }: BrowserOptions, flags: string[]) {
  const args = [...FLAGS, ...flags, `--unsafely-treat-insecure-origin-as-secure=${new URL(url).origin}`];
  let browser: Browser;
  try {
    const options = { executablePath: process.env.CHROMIUM_PATH, headless, args };
    // Signals are the caller's to handle: it closes the tabs in order first.
    browser = await chromium.launch({ ...options, handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });
  } catch (error) {
    const [why] = (error as Error).message.split('\n');
    throw new SwarmError('CHROMIUM_MISSING', `Chromium could not be started: ${why}.`, { cause: error });
  }
  try {
    return { browser, adapter: await adapterOf(browser, url) };
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
