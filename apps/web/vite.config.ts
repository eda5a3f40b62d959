import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

const server = 'http://localhost:8650';

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), compressed()],
  // Every browser with WebGPU is at least this new; `light-dark()` stays as written.
  build: { target: ['chrome123', 'safari17.5', 'firefox121'], outDir: 'dist', emptyOutDir: true, chunkSizeWarningLimit: 1500 },
  // The worker imports the compute backends when it needs them, so it must be a module itself.
  worker: { format: 'es' },
  server: { proxy: { '/v1': server, '/socket.io': { target: server, ws: true } } },
});

/** Beside every text and program a smaller copy, which the server sends to browsers that take one. */
function compressed(): Plugin {
  const folder = join(import.meta.dirname, 'dist');
  return {
    name: 'compressed',
    apply: 'build',
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        if (!/\.(js|css|html|svg|wasm)$/.test(name)) continue;
        const bytes = readFileSync(join(folder, name));
        writeFileSync(join(folder, `${name}.br`), brotliCompressSync(bytes));
        writeFileSync(join(folder, `${name}.gz`), gzipSync(bytes, { level: 9 }));
      }
    },
  };
}
