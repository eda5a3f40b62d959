/** Holds the arrows between packages: who may import whom, and a few things that must not be said at all. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';

/** Workspace folder → the `@starling/…` packages it may import. Tests may import anything. */
const ALLOWED: Record<string, readonly string[]> = {
  'packages/protocol': [],
  'packages/kernels': ['protocol'],
  'packages/model': ['kernels', 'protocol'],
  'packages/codecs': ['protocol'],
  'packages/reduce': ['protocol'],
  'packages/audit': ['codecs', 'kernels', 'model', 'protocol', 'reduce'],
  'packages/coordinator': ['protocol', 'reduce'],
  'packages/store': ['protocol'],
  'packages/chain': ['protocol', 'store'],
  'packages/simulation': ['coordinator', 'protocol', 'store'],
  'packages/miner': ['chain', 'codecs', 'kernels', 'model', 'protocol', 'reduce'],
  server: ['audit', 'chain', 'codecs', 'coordinator', 'model', 'protocol', 'reduce', 'store'],
  'apps/web': ['chain', 'kernels', 'miner', 'model', 'protocol'],
  'apps/headless': ['chain', 'protocol'],
  'apps/demo': ['chain', 'headless', 'protocol', 'server'],
  bench: [
    'audit',
    'chain',
    'codecs',
    'coordinator',
    'headless',
    'kernels',
    'miner',
    'model',
    'protocol',
    'reduce',
    'server',
    'simulation',
    'store',
  ],
};

const IMPORT = /(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g;
const FORBIDDEN = [
  { folder: '', pattern: /\.(dataSync|arraySync)\(/, why: 'reads back synchronously, which loses the device in headless Chromium' },
  ...['packages/coordinator', 'packages/reduce'].map((folder) => ({
    folder,
    pattern: /Date\.now|new Date\(\)|Math\.random|performance\.now|setTimeout|setInterval|fetch\(|crypto\.|['"]node:/,
    why: 'is not pure: time and chance are arguments',
  })),
];

/** Everything wrong with one file, as sentences. `path` is relative to the root, with forward slashes. */
export function violations(path: string, source: string): string[] {
  const home = Object.keys(ALLOWED).find((folder) => path.startsWith(`${folder}/`));
  if (!home || /\.test\.tsx?$/.test(path)) return [];
  const found = FORBIDDEN.filter(({ folder, pattern }) => path.startsWith(folder) && pattern.test(source)).map(
    ({ why }) => `${path}: ${why}.`,
  );
  for (const [, name] of source.matchAll(IMPORT)) {
    const other = /^@starling\/([^/]+)/.exec(name!)?.[1];
    if (other && !ALLOWED[home]!.includes(other))
      found.push(`${path}: imports ${name}; ${home} may import ${ALLOWED[home]!.join(', ') || 'no other package'}.`);
    if (name!.startsWith('.') && !resolve('/', dirname(path), name!).startsWith(`${resolve('/', home)}/`))
      found.push(`${path}: ${name} leaves the package.`);
  }
  return found;
}

/** All source files below `root` that belong to a workspace in the table. */
export function checkTree(root: string): string[] {
  const files = Object.keys(ALLOWED).flatMap((folder) =>
    readdirSync(join(root, folder, 'src'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  return files.flatMap((file) => violations(relative(root, file).replaceAll(sep, '/'), readFileSync(file, 'utf8')));
}
