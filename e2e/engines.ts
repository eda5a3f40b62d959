/** Where code runs that must give the same bits everywhere: a Chromium page, and whatever other engines this machine has. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { build, type Rolldown } from 'vite';

const ROOT = resolve(import.meta.dirname, '..');

/** A file of this workspace, or an import, and all that it needs, as a script that defines `name`. */
export async function scriptOf(entry: string, name: string): Promise<string> {
  const output = (await build({
    root: ROOT,
    configFile: false,
    logLevel: 'warn',
    build: { write: false, lib: { entry: resolve(ROOT, entry), formats: ['iife'], name } },
  })) as Rolldown.RolldownOutput[];
  return output[0]!.output[0].code;
}

export interface Engine {
  name: string;
  /** Of scripts, and then of an expression that gives a promise of what JSON can say. */
  evaluate(scripts: readonly string[], expression: string): Promise<unknown>;
}

const find = (...names: string[]) =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find(existsSync);

/** SpiderMonkey in a Firefox, JavaScriptCore in WebKitGTK's shell; null where the machine has none. */
export const OTHER_ENGINES: { name: string; engine: Engine | null }[] = [
  { name: 'Firefox', path: find('firefox', 'firefox-esr'), evaluate: inFirefox },
  { name: 'JavaScriptCore', path: find('jsc'), evaluate: inShell },
].map(({ name, path, evaluate }) => ({
  name,
  engine: path ? { name, evaluate: (scripts, expression) => evaluate(path, scripts, expression) } : null,
}));

/** A page on localhost is a secure one; it posts what came out. */
async function inFirefox(path: string, scripts: readonly string[], expression: string): Promise<unknown> {
  const answer = Promise.withResolvers<unknown>();
  const server = createServer(async (request, response) => {
    if (request.method === 'POST') {
      let text = '';
      for await (const chunk of request) text += chunk;
      answer.resolve(JSON.parse(text));
    }
    response.setHeader('content-type', 'text/html; charset=utf-8');
    const tell = `(value) => fetch('/', { method: 'POST', body: JSON.stringify(value) })`;
    const run = `Promise.resolve().then(() => ${expression}).then(${tell}, (error) => (${tell})(String(error)));`;
    response.end(
      `<!doctype html><title>bits</title>${[...scripts, run].map((code) => `<script>${code.replaceAll('</script', '<\\/script')}</script>`).join('')}`,
    );
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const profile = await mkdtemp(join(tmpdir(), 'starling-firefox-'));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const child = spawn(path, ['--headless', '--no-remote', '--profile', profile, address], {
    stdio: 'ignore',
    env: { ...process.env, HOME: profile },
  });
  child.on('error', answer.reject);
  child.on('exit', () => answer.reject(new Error('Firefox ended before it answered.')));
  try {
    return await answer.promise;
  } finally {
    child.removeAllListeners('exit');
    child.kill('SIGKILL');
    server.close();
    server.closeAllConnections();
    await rm(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** A shell has the language alone: SHA-256 comes along as a script. */
async function inShell(path: string, scripts: readonly string[], expression: string): Promise<unknown> {
  const folder = await mkdtemp(join(tmpdir(), 'starling-jsc-'));
  try {
    const file = join(folder, 'bits.js');
    const crypto = `globalThis.crypto = { subtle: { digest: async (_, data) => hashes.sha256(new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength)).buffer } };`;
    const run = `Promise.resolve().then(() => ${expression}).then((value) => print(JSON.stringify(value)), (error) => print(JSON.stringify(String(error))));`;
    await writeFile(file, [await scriptOf('node_modules/@noble/hashes/sha2.js', 'hashes'), crypto, ...scripts, run].join('\n;\n'));
    const child = spawn(path, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    for await (const chunk of child.stdout) text += chunk;
    return JSON.parse(text);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
