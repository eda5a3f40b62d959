/**
 * A hotkey file as a wallet: the page finds it where it finds extensions (`window.injectedWeb3`) and has it sign its delegation. The key
 * itself stays in this process; pages only get signatures.
 */
import { DELEGATION_PURPOSE, fromHex, type Sr25519Key, wrapBytes } from '@starling/chain';
import { SwarmError, toHex } from '@starling/protocol';
import type { BrowserContext } from 'playwright-core';

export const WALLET = 'starling-hotkey';
const BINDING = 'starlingSign';

export async function provideHotkey(context: BrowserContext, hotkey: Sr25519Key): Promise<void> {
  await context.exposeBinding(BINDING, (_, data: string) => signed(hotkey, data));
  await context.addInitScript(
    ({ wallet, binding, address }) => {
      const sign = (window as unknown as Record<string, (data: string) => Promise<string>>)[binding]!;
      const accounts = [{ address, name: 'hotkey', type: 'sr25519' }];
      const injected = {
        accounts: {
          get: async () => accounts,
          subscribe: (tell: (now: typeof accounts) => void) => {
            tell(accounts);
            return () => {};
          },
        },
        signer: { signRaw: async ({ data }: { data: string }) => ({ id: 0, signature: await sign(data) }) },
      };
      Object.assign(window, { injectedWeb3: { [wallet]: { version: '1', enable: async () => injected } } });
    },
    { wallet: WALLET, binding: BINDING, address: hotkey.address },
  );
}

/** `data`: hex of a delegation's text. Nothing else is signed, whatever page asks: throws `BAD_MESSAGE`. */
export function signed(hotkey: Sr25519Key, data: string): string {
  const bytes = fromHex(data.replace(/^0x/, ''));
  if (!bytes || !new TextDecoder().decode(bytes).startsWith(`${DELEGATION_PURPOSE}\n`))
    throw new SwarmError('BAD_MESSAGE', 'The page asked for a signature of something else than a delegation.');
  return `0x${toHex(hotkey.sign(wrapBytes(bytes)))}`;
}
