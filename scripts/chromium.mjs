/** Finds a Chromium, or gets one; and finds the software GPU that comes with it. Runs before TypeScript can. */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { nodePath, quietly, ROOT } from './workspace.mjs';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome', 'chrome.exe'];

const PLACES = {
  linux: ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/opt/google/chrome/chrome', '/snap/bin/chromium'],
  darwin: [
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  ],
  win32: ['PROGRAMFILES', 'PROGRAMFILES(X86)', 'LOCALAPPDATA']
    .flatMap((name) => process.env[name] ?? [])
    .flatMap((folder) => [join(folder, 'Google/Chrome/Application/chrome.exe'), join(folder, 'Microsoft/Edge/Application/msedge.exe')]),
};

/** CHROMIUM_MISSING's hint (packages/protocol/src/errors.ts), which cannot be imported before Node 24 is there. */
const MISSING =
  'CHROMIUM_MISSING: Install Chromium (Debian: `apt-get install chromium`; elsewhere: `npx playwright install chromium`) or set CHROMIUM_PATH.';

/** Path of a Chromium, installing one if need be. Throws with what to do when there is no way. */
export async function findChromium() {
  const chosen = process.env.CHROMIUM_PATH;
  if (chosen) {
    if (existsSync(chosen)) return chosen;
    throw new Error(`CHROMIUM_MISSING: CHROMIUM_PATH names ${chosen}, which does not exist. Correct it, or unset it to search.`);
  }
  return (await installedChromium()) ?? (await fromPlaywright()) ?? fromDebian();
}

async function installedChromium() {
  const onPath = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  const playwrights = await playwrightPath();
  return [...onPath, ...(PLACES[process.platform] ?? []), playwrights].find((path) => path && existsSync(path));
}

/** Where Playwright keeps, or would keep, its own Chromium. */
async function playwrightPath() {
  const { chromium } = await import('playwright-core');
  return chromium.executablePath();
}

async function fromPlaywright() {
  console.error('Installing Chromium (playwright install chromium) …');
  try {
    quietly(nodePath(), [join(ROOT, 'node_modules/@playwright/test/cli.js'), 'install', 'chromium'], {}, 'Not installed');
    const path = await playwrightPath();
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

async function fromDebian() {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) throw new Error(MISSING);
  console.error('Installing Chromium (apt-get install chromium) …');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  try {
    quietly('apt-get', ['update'], { env }, 'apt-get update failed');
    quietly('apt-get', ['install', '-y', '--no-install-recommends', 'chromium'], { env }, 'apt-get install failed');
  } catch (error) {
    throw new Error(`${error.message}\n${MISSING}`);
  }
  const path = await installedChromium();
  if (!path) throw new Error(MISSING);
  return path;
}

/**
 * Environment that lets Dawn in Node find the SwiftShader that Chromium brings along; empty when the user chose a
 * Vulkan driver, when the folder has none, or (unless `always`) when the machine has a GPU of its own.
 */
export function softwareVulkan(env, always) {
  if (env.VK_ICD_FILENAMES || (!always && hasGpu())) return {};
  const own = dirname(realpathSync(env.CHROMIUM_PATH)); // Debian's /usr/bin/chromium is a script: its files lie in /usr/lib
  for (const folder of [own, '/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome']) {
    const driver = join(folder, 'vk_swiftshader_icd.json');
    if (!existsSync(driver) || !existsSync(join(folder, 'libvulkan.so.1'))) continue;
    return { VK_ICD_FILENAMES: driver, LD_LIBRARY_PATH: [folder, env.LD_LIBRARY_PATH].filter(Boolean).join(':') };
  }
  return {};
}

function hasGpu() {
  if (existsSync('/dev/nvidia0')) return true;
  return existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('renderD'));
}
