import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

const server = 'http://localhost:8650';

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), compressed(), selfContained()],
  // Every browser with WebGPU is at least this new; `light-dark()` stays as written.
  build: { target: ['chrome123', 'safari17.5', 'firefox121'], outDir: 'dist', emptyOutDir: true, chunkSizeWarningLimit: 1500 },
  // The worker imports the compute backends when it needs them, so it must be a module itself.
  worker: { format: 'es', plugins: () => [selfContained()] },
  // As the server does (`server/src/http.ts`): a page of which no other origin is a part may share memory between threads.
  server: {
    headers: { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' },
    proxy: { '/v1': server, '/socket.io': { target: server, ws: true } },
  },
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

/**
 * tfjs hands its threads the text of a function, which must then mention nothing outside of itself. It asks whether `_scriptDir`, which a
 * worker has not, is there; a minifier that knows its declaration leaves the question out, and the threads fail.
 */
function selfContained(): Plugin {
  return {
    name: 'self-contained',
    apply: 'build',
    transform(code, id) {
      if (!id.endsWith('/tfjs-backend-wasm-threaded-simd.js')) return null;
      const without = code.replace(/^ *var _scriptDir = .*\n.*_scriptDir = .*\n/m, '');
      if (without === code) throw new Error('The threads of tfjs have changed: see selfContained in vite.config.ts.');
      return { code: without, map: null };
    },
  };
}
