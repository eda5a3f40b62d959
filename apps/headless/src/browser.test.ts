import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

/** Opens a browser and tells whether it is said to be confined, and whether its renderers are: in a process namespace of their own. */
const SCRIPT = `
  import { readFileSync } from 'node:fs';
  const { openBrowser } = await import(${JSON.stringify(new URL('./browser.ts', import.meta.url).href)});
  const { browser, sandboxed } = await openBrowser({ url: 'http://localhost:1', software: 'always' });
  await browser.newPage();
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const depth = (pid) => /^NSpid:(.*)$/m.exec(readFileSync('/proc/' + pid + '/status', 'utf8'))[1].trim().split(/\\s+/).length;
  const renderers = processInfo.filter(({ type }) => type === 'renderer');
  const confined = renderers.length > 0 && renderers.every(({ id }) => depth(id) > depth('self'));
  console.log(JSON.stringify({ sandboxed, confined }));
  await browser.close();
`;
const CHROMIUM = process.env.CHROMIUM_PATH;
const NOBODY = 65_534;

describe.skipIf(!CHROMIUM || process.platform !== 'linux')('sandbox (Linux; needs CHROMIUM_PATH, which npm test sets)', () => {
  const isRoot = process.getuid?.() === 0;
  /** Whom the sandbox is not denied. */
  const user = isRoot ? NOBODY : undefined;
  const succeeds = (command: string, ...argv: string[]) => spawnSync(command, argv, { uid: user, gid: user }).status === 0;
  let home: string;
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'starling-'));
    chmodSync(home, 0o777);
  });
  afterAll(() => rmSync(home, { recursive: true }));

  function opened(chromium: string, as?: number): { sandboxed: boolean; confined: boolean } {
    const env = { ...process.env, CHROMIUM_PATH: chromium, HOME: home };
    const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', SCRIPT];
    const { stdout, stderr } = spawnSync(process.execPath, argv, { env, uid: as, gid: as, encoding: 'utf8' });
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  test.runIf(isRoot)('root goes without', () => {
    expect(opened(CHROMIUM!)).toEqual({ sandboxed: false, confined: false });
  });

  test('others go without only where Chromium does not start with it', ({ skip }) => {
    const canRead = succeeds(process.execPath, '--check', new URL('./browser.ts', import.meta.url).pathname);
    if (!canRead || !succeeds(CHROMIUM!, '--version')) skip('another user than root cannot read this folder, or Chromium');
    const chromium = join(home, 'chromium');
    // Chromium ends like this on a machine without user namespaces.
    writeFileSync(chromium, `#!/bin/sh\ncase "$*" in *--no-sandbox*) exec "${CHROMIUM}" "$@" ;; esac\nexit 1\n`);
    chmodSync(chromium, 0o755);
    expect(opened(chromium, user)).toEqual({ sandboxed: false, confined: false });
    const { sandboxed, confined } = opened(CHROMIUM!, user);
    expect(sandboxed).toBe(confined);
    // What it needs of the kernel; a Chromium with a setuid helper does without.
    if (succeeds('unshare', '--map-root-user', '--pid', '--fork', 'chroot', '/', 'true')) expect(sandboxed).toBe(true);
  });
});
