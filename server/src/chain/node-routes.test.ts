/** The server's own chain from elsewhere: the same reads, calls signed there, and its refusals by their reasons. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Call, RemoteDevChain, Sr25519Key, toPlain } from '@starling/chain';
import type { ChainView } from '@starling/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningServer, startServer } from '../index.ts';

const VALIDATOR = Sr25519Key.development('Validator');

describe('a chain over HTTP', () => {
  let folder: string;
  let server: RunningServer;
  let chain: RemoteDevChain;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'node-routes-'));
    server = await startServer({
      ...{ port: 0, dataDir: folder, blockMs: 50, tempo: 5, log: () => {}, validators: [`${VALIDATOR.address}=500`] },
    });
    chain = await RemoteDevChain.open(server.url, { pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) });
  });
  afterAll(async () => {
    await chain.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('reads the same metagraph, head and epochs', async () => {
    const view = async () => (await (await fetch(`${server.url}/v1/chain`)).json()) as ChainView;
    const registered = ({ neurons }: { neurons: readonly { hotkey: string }[] }) => neurons.map(({ hotkey }) => hotkey);
    // The validator's registration takes a block, and pages may see the one before.
    await expect.poll(async () => registered(await view())).toContain(VALIDATOR.address);
    const graph = await chain.metagraph();
    const { network, netuid, neurons } = await view();
    expect([chain.network, chain.netuid]).toEqual([network, netuid]);
    expect(registered(graph)).toEqual(registered({ neurons }));
    expect(typeof graph.neurons[0]!.stake).toBe('bigint');
    expect((await chain.head()).number).toBeGreaterThanOrEqual(graph.block);
    expect(await chain.balance(VALIDATOR.address)).toBe(0n);
    await new Promise<void>((resolve) => {
      const leave = chain.onEpoch(({ epoch }) => {
        expect(epoch).toBeGreaterThanOrEqual(graph.epoch);
        leave();
        resolve();
      });
    });
    expect(await chain.epochs(1)).toHaveLength(1);
  });

  it('takes calls that were signed here, one after the other', async () => {
    const me = VALIDATOR.address;
    await expect.poll(async () => (await chain.metagraph()).neurons.find(({ hotkey }) => hotkey === me)?.permit).toBe(true);
    const uid = (await chain.metagraph()).neurons.find(({ hotkey }) => hotkey === me)!.uid;
    const call: Call = { type: 'setWeights', uids: [uid === 0 ? 1 : 0], weights: [65_535], version: 0 };
    const [first, second] = await Promise.allSettled([
      chain.submit(call, VALIDATOR),
      chain.submit({ type: 'commitWeights', hash: 'a'.repeat(64) }, VALIDATOR),
    ]);
    expect(first).toMatchObject({ status: 'fulfilled', value: { block: expect.any(Number) } });
    // Its nonce was right, and the chain's own reason comes through.
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'CHAIN_REFUSED', reason: 'CommitRevealDisabled' } });
  });

  it('gives fresh keys no place in the queue', async () => {
    const stranger = Sr25519Key.development('fresh');
    const call: Call = { type: 'transfer', to: VALIDATOR.address, amount: 1n };
    await expect(chain.submit(call, stranger)).rejects.toMatchObject({ reason: 'HotKeyNotRegisteredInSubNet' });
  });

  it('refuses what is no call, or not signed by whom it says', async () => {
    const post = async (body: unknown) => {
      const response = await fetch(`${server.url}/v1/chain/node/calls`, { method: 'POST', body: JSON.stringify(body) });
      return ((await response.json()) as { error: { code: string; message: string } }).error;
    };
    expect(await post({})).toMatchObject({ code: 'BAD_MESSAGE' });
    const call = { type: 'transfer', to: VALIDATOR.address, amount: 5n };
    const account = await fetch(`${server.url}/v1/chain/node/accounts/${VALIDATOR.address}`);
    const { nonce } = (await account.json()) as { nonce: number };
    const forged = toPlain({ signer: VALIDATOR.address, nonce, call, signature: '00'.repeat(64) });
    expect(await post(forged)).toMatchObject({ code: 'CHAIN_REFUSED', message: expect.stringContaining('BadProof') });
    expect((await fetch(`${server.url}/v1/chain/node/accounts/nobody`)).status).toBe(400);
    await expect(RemoteDevChain.open('http://127.0.0.1:9', { pause: async () => {} })).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
  });
});
