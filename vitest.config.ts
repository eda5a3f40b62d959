import { defineConfig } from 'vitest/config';

/**
 * Everything that needs no browser window: unit tests, simulations, and the integration tests of server and miner.
 * Workspaces export their TypeScript sources, so nothing is built and nothing needs an alias.
 */
export default defineConfig({
  test: {
    include: ['{packages,server,apps,bench,scripts}/**/*.test.{ts,tsx}'],
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
