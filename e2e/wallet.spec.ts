/** A wallet in the page, through the interface that all wallets share, with a real keyring behind it. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, expect, type Page, test } from '@playwright/test';
import { Keyring } from '@polkadot/keyring';
import type { AccountView, ChainView } from '@starling/protocol';
import { startServerProcess } from '@starling/server/process';
import { fits, SCREENS } from './screens.ts';

interface Asked {
  enabled: string[];
  signed: string[];
}

/**
 * Wallets: one that works, with an account of each kind, one that never answers, and two that refuse, each by one of the two ways to
 * ask. What they are asked is written down.
 * `window.showAccounts` is the person choosing in the wallet which accounts the page may see.
 */
async function giveWallets(context: BrowserContext): Promise<{ asked: Asked; addresses: string[] }> {
  const keyring = new Keyring({ ss58Format: 42 });
  const pairs = [keyring.addFromUri('//Alice', { name: 'Alice' }, 'sr25519'), keyring.addFromUri('//Bob', { name: 'Bob' }, 'ed25519')];
  const asked: Asked = { enabled: [], signed: [] };
  await context.exposeFunction('walletEnabled', (name: string) => {
    asked.enabled.push(name);
  });
  await context.exposeFunction('walletSigns', (address: string, data: string) => {
    const bytes = Buffer.from(data.slice(2), 'hex');
    asked.signed.push(bytes.toString());
    const wrapped = Buffer.concat([Buffer.from('<Bytes>'), bytes, Buffer.from('</Bytes>')]);
    return `0x${Buffer.from(keyring.getPair(address).sign(wrapped)).toString('hex')}`;
  });
  const accounts = pairs.map(({ address, meta, type }) => ({ address, name: meta.name as string, type }));
  await context.addInitScript((all) => {
    const page = globalThis as unknown as {
      walletEnabled(name: string): Promise<void>;
      walletSigns(address: string, data: string): Promise<string>;
      showAccounts(count: number): void;
      injectedWeb3: Record<string, unknown>;
    };
    let shown = all.slice(0, 1);
    const listeners = new Set<(accounts: typeof all) => void>();
    page.showAccounts = (from) => {
      shown = all.slice(from);
      for (const listener of listeners) listener(shown);
    };
    const works = {
      accounts: {
        get: async () => shown,
        subscribe: (listener: (accounts: typeof all) => void) => {
          listeners.add(listener);
          listener(shown);
          return () => listeners.delete(listener);
        },
      },
      signer: {
        signRaw: async ({ address, data, type }: { address: string; data: string; type: string }) => {
          if (type !== 'bytes') throw new Error(`Asked to sign a ${type}`);
          return { id: 1, signature: await page.walletSigns(address, data) };
        },
      },
    };
    page.injectedWeb3 = {
      hanging: {
        version: '1',
        enable: () => {
          void page.walletEnabled('hanging');
          return new Promise(() => {});
        },
      },
      refusing: { version: '1', enable: () => Promise.reject(new Error('The person said no.')) },
      'refusing anew': { version: '1', connect: () => Promise.reject(new Error('The person said no.')) },
      'polkadot-js': {
        version: '1',
        enable: async () => {
          await page.walletEnabled('polkadot-js');
          return works;
        },
      },
    };
  }, accounts);
  return { asked, addresses: pairs.map(({ address }) => address) };
}

const panel = (page: Page) => page.getByRole('region', { name: 'Account' });
/** By keyboard, which is not sent back to the page's beginning when the button goes, as it has when the panel says `then`. */
async function press(page: Page, name: string, then: string): Promise<void> {
  await panel(page).getByRole('button', { name }).press('Enter');
  await expect(panel(page)).toContainText(then);
  await expect.poll(() => page.evaluate(() => document.activeElement?.closest('section')?.getAttribute('aria-labelledby'))).toBe('wallet');
}

test('a wallet that refuses is told with what it said, and is no error of the page; another one can be opened after it', async ({
  browser,
}) => {
  const server = await startServerProcess(['--port', '0', '--data', mkdtempSync(join(tmpdir(), 'starling-refused-'))]);
  try {
    for (const { options } of SCREENS) {
      const context = await browser.newContext(options);
      const { addresses } = await giveWallets(context);
      const page = await context.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
      await page.goto(`${server.url}/?backend=wasm`);
      for (const name of ['refusing', 'refusing anew']) {
        await panel(page).getByRole('button', { name, exact: true }).click();
        await expect(panel(page)).toContainText(`The wallet ${name} does not let this page in: The person said no.`);
        await expect(panel(page)).toContainText('WALLET_REFUSED');
      }
      await panel(page).getByRole('button', { name: 'polkadot{.js}' }).click();
      await expect(panel(page)).toContainText(addresses[0]!);
      expect(errors).toEqual([]);
      // Nor is it the wallet's doing when the page cannot load what it signs with.
      const left = Promise.withResolvers<void>();
      await context.route(/\/assets\/link-/, (route) => left.promise.then(() => route.abort()));
      await panel(page).getByRole('button', { name: 'Sign once' }).click();
      // Outside of what takes the focus for the whole page.
      await page.getByRole('banner').getByRole('status').click();
      left.resolve();
      await expect(panel(page)).toContainText('the server is away, or was renewed since this tab was opened.');
      await expect(panel(page)).toContainText('CODE_MISSING');
      const focused = await page.evaluate(() => document.activeElement?.tagName);
      expect(focused, 'who went on elsewhere is not called back').toBe('BODY');
      await context.close();
    }
  } finally {
    await server.kill();
  }
});

for (const screen of SCREENS)
  test(`a guest mines, links a wallet with one signature, changes the account, and disconnects, and no credit is lost, on ${screen.name}`, async ({
    browser,
    request,
  }) => {
    const options = ['--preset', 'pico', '--stages', '1', '--round-steps', '2', '--block-ms', '100', '--tempo', '10'];
    const server = await startServerProcess(['--port', '0', '--data', mkdtempSync(join(tmpdir(), 'starling-wallet-')), ...options]);
    try {
      const context = await browser.newContext(screen.options);
      const { asked, addresses } = await giveWallets(context);
      const page = await context.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
      const chain = async (): Promise<ChainView> => (await request.get(`${server.url}/v1/chain`)).json();
      await page.goto(`${server.url}/?backend=wasm&name=guest&intensity=0.2`);
      await expect(panel(page)).toContainText('Mining as a guest');
      await expect(panel(page)).toContainText('halves every 4 s');
      await page.getByRole('button', { name: /start/i }).first().click();
      await expect.poll(async () => (await chain()).pay.length, { message: 'accounts that worked' }).toBe(1);
      const [guest] = (await chain()).pay;
      expect(guest!.guest).toBe(true);
      // A key that no script can read, and that outlasts the page.
      const key = (await chain()).rounds.newest!.miners[0]!.device!;
      const account = async (): Promise<AccountView> => (await request.get(`${server.url}/v1/identity/${key}`)).json();
      expect(await account()).toMatchObject({ address: guest!.address, delegation: null });

      // What the chain pays a guest is on the guest's own key.
      const own = async () => BigInt((await account()).own!.staked);
      await expect.poll(own, { message: 'pay of a guest' }).toBeGreaterThan(0n);

      // The one that hangs holds nobody up, and is asked only because it was chosen.
      await press(page, 'hanging', 'Waiting for hanging');
      await press(page, 'Cancel', 'Link a wallet');
      await expect.poll(() => asked.enabled).toEqual(['hanging']);
      await press(page, 'polkadot{.js}', addresses[0]!);
      expect(asked.enabled).toEqual(['hanging', 'polkadot-js']);
      await press(page, 'Sign once', 'Mining for the hotkey');
      expect(asked.signed).toHaveLength(1);
      expect(asked.signed[0]).toContain(`hotkey: ${addresses[0]}`);
      const linked = await account();
      expect(linked).toMatchObject({ address: addresses[0], delegation: { hotkey: addresses[0] } });
      expect(linked.work).toBeGreaterThanOrEqual(guest!.work);
      await expect.poll(async () => (await account()).uid, { message: 'the hotkey is registered' }).not.toBeNull();
      await expect(panel(page)).toContainText(/UID \d/);

      // What the guest was paid goes to the hotkey.
      const paid = await own();
      const balance = async () =>
        BigInt((await (await request.get(`${server.url}/v1/chain/node/accounts/${addresses[0]}`)).json()).balance.bigint);
      expect(await balance()).toBe(0n);
      // Not while a wallet is asked: only the newest of two things under way is heard of.
      const mover = panel(page).getByRole('button', { name: 'Move to the hotkey' });
      await panel(page).getByRole('button', { name: 'polkadot{.js}' }).click();
      await expect(panel(page).getByRole('button', { name: 'Sign once' })).toBeVisible();
      await expect(mover).toBeDisabled();
      await panel(page).getByRole('button', { name: 'Cancel' }).click();
      await mover.click();
      await expect.poll(balance, { message: 'the pay is the wallet’s' }).toBeGreaterThanOrEqual(paid);
      expect(asked.signed, 'the wallet need not sign').toHaveLength(1);

      // Receipts go on being taken, with no more signatures of the wallet, also over a reload, after which it mines by itself.
      await page.reload();
      await expect(panel(page)).toContainText('Mining for the hotkey');
      const before = (await account()).work;
      await expect.poll(async () => (await account()).work, { message: 'work for the hotkey' }).toBeGreaterThan(before);
      expect(asked.signed).toHaveLength(1);

      // The wallet shows another account: said, and signed for by itself (ed25519).
      await fits(page);
      await panel(page).getByRole('button', { name: 'polkadot{.js}' }).click();
      await expect(panel(page)).toContainText(addresses[0]!);
      await page.evaluate(() => (globalThis as unknown as { showAccounts(from: number): void }).showAccounts(1));
      await expect(panel(page)).toContainText('The wallet shows other accounts now.');
      await panel(page).getByRole('button', { name: 'Sign once' }).click();
      await expect.poll(async () => (await account()).address).toBe(addresses[1]);
      expect(asked.signed).toHaveLength(2);
      expect((await account()).work).toBeGreaterThan(before);

      await fits(page);
      await press(page, 'Disconnect', 'Mining as a guest');
      expect(await account()).toMatchObject({ address: guest!.address, delegation: null });
      expect((await account()).work).toBeGreaterThan(before);

      await page.goto(`${server.url}/chain`);
      await expect(page.getByRole('region', { name: 'Accounts' }).getByRole('row')).toHaveCount(2);
      expect(errors).toEqual([]);
    } finally {
      await server.kill();
    }
  });
