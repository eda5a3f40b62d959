import { defineConfig } from '@playwright/test';

/** Real Chromium on real WebGPU; the software adapter, so that it is the same on machines with and without a GPU. */
export default defineConfig({
  testDir: '.',
  // Most of the time a test waits, and each file has servers of its own.
  workers: 2,
  timeout: 12 * 60_000,
  // What is waited for comes, however busy the machine is: tests do not time it.
  expect: { timeout: 120_000 },
  outputDir: '../test-results',
  use: {
    launchOptions: {
      executablePath: process.env.CHROMIUM_PATH,
      args: [
        '--no-sandbox',
        '--enable-unsafe-webgpu',
        '--use-webgpu-adapter=swiftshader',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-quic',
        '--no-first-run',
      ],
    },
  },
});
