import { defineConfig } from 'vitest/config';

/**
 * Everything that needs no browser window: unit tests, simulations, and the integration tests of server and miner.
 * Workspaces export their TypeScript sources, so nothing is built and nothing needs an alias.
 */
export default defineConfig({
  test: {
    include: ['{packages,server,apps,bench,scripts}/**/*.test.{ts,tsx}'],
    pool: 'forks',
    // By default one core is left idle: half of a machine of two, where many of these tests wait for processes and sockets.
    maxWorkers: '100%',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
