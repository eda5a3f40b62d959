import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const server = 'http://localhost:8650';

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react()],
  // Every browser with WebGPU is at least this new; `light-dark()` stays as written.
  build: { target: ['chrome123', 'safari17.5', 'firefox121'], outDir: 'dist', emptyOutDir: true, chunkSizeWarningLimit: 1500 },
  // The worker imports the compute backends when it needs them, so it must be a module itself.
  worker: { format: 'es' },
  server: { proxy: { '/v1': server, '/socket.io': { target: server, ws: true } } },
});
