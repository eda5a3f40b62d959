/** What this browser offers, found before Start so that nobody has to guess. */
import { ERROR_HINTS, type ErrorCode, type WireError } from '@starling/protocol';

export interface Device {
  /** The GPU as the browser names it; null when WebGPU gives none. */
  adapter: string | null;
  /** A GPU imitated on the CPU: it works, slowly. */
  software: boolean;
  /** Optional abilities worth knowing, in words. */
  features: string[];
  /** Why WebGPU cannot be used, or the page cannot mine at all. */
  problem: WireError | null;
  /** What to do in this very browser; null when nothing is wrong. */
  fix: string | null;
  /** A telephone that ends heavy pages without a word: it watches, unless its owner insists. */
  watchOnly: boolean;
}

const FEATURES: [GPUFeatureName, string][] = [
  ['shader-f16', '16-bit floats'],
  ['subgroups', 'subgroups'],
];

export async function findDevice(): Promise<Device> {
  const problem = hopeless();
  if (problem) return without(problem, null);
  const fix = webgpuFix(navigator.userAgent);
  if (!navigator.gpu) return without(told('WEBGPU_UNAVAILABLE', 'This browser has no WebGPU.'), fix);
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (!adapter) return without(told('WEBGPU_UNAVAILABLE', 'This browser has WebGPU but offers no GPU.'), fix);
  return {
    adapter: adapterName(adapter.info),
    software: adapter.info.isFallbackAdapter || /swiftshader|llvmpipe|basic render/i.test(adapterName(adapter.info)),
    features: FEATURES.filter(([feature]) => adapter.features.has(feature)).map(([, words]) => words),
    problem: null,
    fix: null,
    watchOnly: isIos(navigator),
  };
}

function without(problem: WireError, fix: string | null): Device {
  return { ...{ adapter: null, software: false, features: [], problem, fix }, watchOnly: isIos(navigator) };
}

const told = (code: ErrorCode, message: string): WireError => ({ code, message, hint: ERROR_HINTS[code] });

/** Why this page cannot mine at all, not even on the processor; null where it can. */
export function hopeless(): WireError | null {
  if (!isSecureContext)
    return told('INSECURE_CONTEXT', `${location.origin} is not a secure page, so the browser hides WebGPU and SHA-256.`);
  return self === top ? null : told('FRAMED', 'This page is inside another one, and does not mine there.');
}

/** iPads call themselves Macs; a Mac has no touch screen. */
export const isIos = ({ userAgent, maxTouchPoints }: Pick<Navigator, 'userAgent' | 'maxTouchPoints'>): boolean =>
  /iPhone|iPad|iPod/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1);

/** Browsers tell as little of the GPU as they like: the most telling words there are. */
export function adapterName(info: Pick<GPUAdapterInfo, 'vendor' | 'architecture' | 'device' | 'description'>): string {
  return info.description || [info.vendor, info.architecture || info.device].filter(Boolean).join(' ') || 'a GPU the browser does not name';
}

const ANDROID = 'Chrome 121 or newer on Android 12 or newer';
const acceleration = (browser: string, scheme: string) =>
  `In ${browser}: open ${scheme}://settings/system, switch “Use graphics acceleration” on and restart; ${scheme}://gpu then lists WebGPU as available.`;

/** What to try, by what a browser's user agent says: the first that fits. Most call themselves Chrome, or Safari, too. */
const FIXES: [says: RegExp, fix: string][] = [
  // All browsers there are Safari within.
  [/iPhone|iPad|iPod/, 'On iOS and iPadOS: update to version 26, where WebGPU is on from the start, in every browser.'],
  [/Android.*Firefox\/|Firefox\/.*Android/, `Firefox on Android has no WebGPU yet: use ${ANDROID}.`],
  [/SamsungBrowser\//, `In Samsung Internet: update it; if it still has no WebGPU, use ${ANDROID}.`],
  [
    /Android.*Chrome\//,
    `On Android: WebGPU needs ${ANDROID}; update both. If it is still missing, open chrome://flags, enable “Unsafe WebGPU Support” and restart.`,
  ],
  [
    /Firefox\//,
    'In Firefox: update it (WebGPU is on from version 141 on Windows, and 145 on Macs with Apple’s own processors); elsewhere open about:config, set dom.webgpu.enabled to true and restart the browser.',
  ],
  [
    /CrOS/,
    'On a Chromebook: update ChromeOS; if WebGPU is still missing, open chrome://flags, enable “Unsafe WebGPU Support” and restart.',
  ],
  [/Linux.*Edg\//, 'In Edge on Linux: open edge://flags, enable “Unsafe WebGPU Support” and “Vulkan”, and restart the browser.'],
  [/Edg\//, acceleration('Edge', 'edge')],
  [/Linux.*Chrome\//, 'In Chrome on Linux: open chrome://flags, enable “Unsafe WebGPU Support” and “Vulkan”, and restart the browser.'],
  [/Chrome\//, acceleration('Chrome', 'chrome')],
  [/Safari\//, 'In Safari: update to macOS 26 (or iPadOS 26), where WebGPU is on from the start.'],
];

/** The one thing to try in the browser at hand. */
export const webgpuFix = (userAgent: string): string =>
  FIXES.find(([says]) => says.test(userAgent))?.[1] ?? 'Use a current Chrome, Edge, Firefox or Safari.';
