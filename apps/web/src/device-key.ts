/**
 * The key of this browser, which signs receipts: made at the first visit, kept in IndexedDB, and never seen by any script, this
 * one included. All tabs share it, so all of them earn for the same account.
 */
import { DeviceKey } from '@starling/chain/device';
import { openDatabase, settled, storeOf } from './database.ts';

const KEY = 'device';

/** Throws `DEVICE_KEY_UNSUPPORTED` or `INSECURE_CONTEXT`. Where storage is blocked, the key ends with the page. */
export async function deviceKey(): Promise<DeviceKey> {
  const database = await openDatabase().catch(() => null);
  const kept = database && ((await settled(storeOf(database, 'readonly').get(KEY))) as CryptoKeyPair | undefined);
  if (kept) return DeviceKey.from(kept);
  const made = await DeviceKey.generate();
  if (!database) return made;
  // Another tab may have been faster: within one transaction there is one first.
  const store = storeOf(database, 'readwrite');
  const first = (await settled(store.get(KEY))) as CryptoKeyPair | undefined;
  if (first) return DeviceKey.from(first);
  await settled(store.put(made.pair, KEY));
  return made;
}
