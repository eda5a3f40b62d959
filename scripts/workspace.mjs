/** Installed packages and the built web app: made when missing, made anew when stale. Runs before any package exists. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '..');
const MODULES = join(ROOT, 'node_modules');
const STAMP = join(MODULES, '.starling-lock');
const WEB = join(ROOT, 'apps/web');

/** Node of the npm package `node`. */
export const nodePath = () => join(MODULES, '.bin', process.platform === 'win32' ? 'node.exe' : 'node');

const lockHash = () =>
  createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');

/** Notes which lock file node_modules was made from; npm calls it after every install (`postinstall`). */
export function markInstalled() {
  mkdirSync(MODULES, { recursive: true });
  writeFileSync(STAMP, lockHash());
}

/** Installs the locked packages unless they are there. */
export function installPackages() {
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === lockHash()) return;
  console.error('Installing packages (npm ci) …');
  // Without our own bin folder on PATH, so that npm does not run on the Node it is about to replace.
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.startsWith(MODULES));
  const env = { ...process.env, PATH: path.join(delimiter) };
  const windows = process.platform === 'win32';
  quietly('npm', ['ci', '--loglevel=error', '--no-progress'], { env, shell: windows }, 'npm ci failed');
  markInstalled();
}

/** Builds apps/web into apps/web/dist when a source of it is newer than the last build. */
export function buildWeb() {
  const built = join(WEB, 'dist/index.html');
  if (existsSync(built) && newestChange([WEB, join(ROOT, 'packages')]) < statSync(built).mtimeMs) return;
  console.error('Building the web app …');
  quietly(nodePath(), [join(MODULES, 'vite/bin/vite.js'), 'build', WEB, '--logLevel', 'error'], {}, 'The web app could not be built');
}

/** Latest modification (Unix milliseconds) of a file below the folders, build outputs aside. */
function newestChange(folders) {
  let newest = statSync(join(ROOT, 'package-lock.json')).mtimeMs;
  for (const folder of folders) {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && entry.name !== 'dist' && entry.name !== 'node_modules') newest = Math.max(newest, newestChange([path]));
      else if (entry.isFile() && !/\.test\.tsx?$/.test(entry.name)) newest = Math.max(newest, statSync(path).mtimeMs);
    }
  }
  return newest;
}

/** Runs a program to its end and shows its output only if it fails; then throws. */
export function quietly(program, args, options, failure) {
  const result = spawnSync(program, args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 26, ...options });
  if (result.status === 0) return;
  const output = [result.stdout, result.stderr, result.error?.message].filter(Boolean).join('\n').trim();
  throw new Error(`${output}\n${failure}; the lines above say why.`);
}
