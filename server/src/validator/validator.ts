/**
 * A validator in a process of its own: proves its hotkey, draws by its own secret, computes again what it drew, and sets its own
 * weights from the public ledger. It needs nothing of the server but what everybody may read, and goes on by itself when the server
 * or the chain was away.
 */
import { type AuditedRun, decodeEvidence } from '@starling/audit';
import type { ReplayBackend } from '@starling/audit/node';
import { type Chain, RemoteDevChain, type Signer, SubtensorChain } from '@starling/chain';
import {
  type AuditRequest,
  type ChainView,
  PROTOCOL_VERSION,
  parseMessage,
  type Reply,
  type RoundWork,
  type RunSnapshot,
  SwarmError,
  toHex,
  VALIDATOR_REQUESTS,
  type ValidatorHello,
  type ValidatorRequestName,
  type ValidatorRequests,
  validatorText,
  type WeightsView,
} from '@starling/protocol';
import { packets } from '@starling/protocol/packets';
import { io, type Socket } from 'socket.io-client';
import { LocalValidator } from '../audits/local-validator.ts';
import { drawnBy } from '../audits/panel.ts';
import { CommitsFile } from '../chain/commits-file.ts';
import { WeightsLoop } from '../chain/weights-loop.ts';
import { getBytes, getJson } from '../fetch.ts';
import { Books } from './books.ts';
import { Secrets } from './secrets.ts';

export interface ValidatorOptions {
  url: string;
  hotkey: Signer;
  /** What only this validator knows: its secrets are made of it. */
  seed: string;
  backend: ReplayBackend;
  /** Folder of what a restart must not lose. */
  dataDir: string;
  /** Node of subtensor; absent: the server's own chain. */
  endpoint?: string;
  log(line: string): void;
  /** Who computes; absent: a thread of this process, on `backend`. */
  local?: Pick<LocalValidator, 'validate' | 'close'>;
  /** Weights were taken by the chain. */
  onWeights?(weights: WeightsView): void;
}

/** Before a hello that was refused, or a chain that was not there, is tried again. */
const RETRY_MS = 5_000;
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref());

export class Validator {
  private readonly options: ValidatorOptions;
  /** Of the run that it was let in to. */
  private secretsOfRun: Secrets | null = null;
  private readonly local: Pick<LocalValidator, 'validate' | 'close'>;
  private readonly socket: Socket;
  private run: AuditedRun | null = null;
  /** The parameters used last: many audits are of one version. */
  private parameters: { hash: string; values: Float32Array<ArrayBuffer> } | null = null;
  private books: Books | null = null;
  private chain: Chain | null = null;
  private loop: WeightsLoop | null = null;
  private told = '';
  private closed = false;

  constructor(options: ValidatorOptions) {
    this.options = options;
    this.local = options.local ?? new LocalValidator(options.backend);
    this.socket = io(`${options.url}/validate`, {
      ...{ transports: ['websocket'], reconnectionDelay: 500, reconnectionDelayMax: 5_000, forceNew: true, parser: packets },
    });
    this.socket.on('connect', () => void this.join());
    this.socket.on('connect_error', (error) => this.say(`The server cannot be reached: ${error.message}. It is tried again.`));
    this.socket.on('disconnect', (reason) => {
      if (reason === 'io server disconnect') this.socket.connect();
      if (!this.closed) this.say(`The connection is lost (${reason}). It is tried again.`);
    });
    this.socket.on('round', () => void this.weigh());
    this.answer('commit', async ({ epoch }) => ({ secretHash: toHex(await hashOf(this.secrets.of(epoch))) }));
    this.answer('draw', async (asked) => ({ minerIds: await drawnBy(this.secrets.toDraw(asked.epoch), asked) }));
    this.answer('reveal', async ({ epoch }) => ({ secret: this.secrets.toTell(epoch) }));
    this.answer('audit', (asked) => this.audit(asked));
    void this.openChain();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.socket.disconnect();
    this.loop?.close();
    await this.chain?.close();
    await this.local.close();
  }

  /** The same again is not said again. */
  private say(line: string): void {
    if (line !== this.told) this.options.log(line);
    this.told = line;
  }

  private async join(): Promise<void> {
    const { url, hotkey, backend } = this.options;
    try {
      const { config } = await getJson<RunSnapshot>(`${url}/v1/run`);
      this.run = config;
      const { origin } = new URL(url);
      if (this.secretsOfRun?.runId !== config.runId) this.secretsOfRun = new Secrets(this.options.seed, origin, config.runId);
      const { server, nonce } = await this.request<{ server: string; nonce: string }>('challenge', {});
      const signature = toHex(await hotkey.sign(new TextEncoder().encode(validatorText(origin, nonce))));
      const hello: ValidatorHello = { protocol: PROTOCOL_VERSION, hotkey: hotkey.address, origin, nonce, signature, backend };
      await this.request('hello', hello);
      this.say(`Validating run ${config.runId} of ${server} as ${hotkey.address} on ${backend}.`);
      await this.weigh();
    } catch (error) {
      const { code, message, hint } = SwarmError.from(error);
      this.say(`${message} ${hint} [${code}]`);
      setTimeout(() => this.socket.connected && void this.join(), RETRY_MS).unref();
    }
  }

  /** Throws what the server answered. */
  private async request<T>(name: string, message: unknown): Promise<T> {
    const reply = (await this.socket.timeout(RETRY_MS).emitWithAck(name, message)) as Reply<T>;
    if (!reply.ok) throw SwarmError.fromWire(reply.error);
    return reply.value;
  }

  /** A request that cannot be answered is not: the server's own validator does it. */
  private answer<K extends ValidatorRequestName>(
    name: K,
    handle: (asked: ValidatorRequests[K]['asked']) => Promise<ValidatorRequests[K]['answered']>,
  ): void {
    this.socket.on(name as string, async (message: unknown, reply: unknown) => {
      try {
        const asked = parseMessage(name, VALIDATOR_REQUESTS[name].asked, message) as ValidatorRequests[K]['asked'];
        const answer = await handle(asked);
        if (typeof reply === 'function') reply(answer);
      } catch (error) {
        const { code, message } = SwarmError.from(error);
        this.say(`Asked for ${name}, there is no answer: ${message} [${code}]`);
      }
    });
  }

  private get secrets(): Secrets {
    if (!this.secretsOfRun) throw new SwarmError('NOT_JOINED', 'The run is not known yet.');
    return this.secretsOfRun;
  }

  private async audit({ id, minerId, parameterHash }: AuditRequest): Promise<ValidatorRequests['audit']['answered']> {
    const { url, log } = this.options;
    const evidence = await decodeEvidence(await getBytes(`${url}/v1/validators/evidence/${id}`));
    if (this.parameters?.hash !== parameterHash) {
      const bytes = await getBytes(`${url}/v1/validators/parameters/${id}`);
      this.parameters = { hash: parameterHash, values: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) };
    }
    const { run } = this;
    if (!run) throw new SwarmError('NOT_JOINED', 'The run is not known yet.');
    const verdict = await this.local.validate(run, { ...evidence, parameters: this.parameters.values });
    if (verdict.outcome === 'failed') this.books?.convict(minerId);
    log(`audit of ${minerId} at stage ${evidence.stage}: ${verdict.outcome}. ${verdict.finding}`);
    return { verdict };
  }

  // ── weights ───────────────────────────────────────────────────────────────────────────────────

  /** The chain that the server names; tried again until it is there. */
  private async openChain(): Promise<void> {
    const { url, hotkey, log, onWeights } = this.options;
    while (!this.closed) {
      try {
        const view = await getJson<ChainView>(`${url}/v1/chain`);
        const chain = await this.chainOf(view);
        if (this.closed) return void (await chain.close());
        this.chain = chain;
        this.books = new Books({
          ledger: async (after) =>
            (await getJson<{ rounds: RoundWork[] }>(`${url}/v1/runs/${await this.runId()}/ledger?after=${after}`)).rounds,
          delegation: async (device) => (await getJson<{ signed: unknown }>(`${url}/v1/identity/${device}/delegation`)).signed,
          receiver: { network: chain.network, netuid: chain.netuid, server: view.server },
          now: Date.now,
        });
        this.loop = new WeightsLoop(chain, hotkey, {
          prepare: async () => {},
          retryMs: view.blockMs,
          commits: new CommitsFile(this.options.dataDir, hotkey.address),
          onSet: (weights) => {
            log(`weights of round ${weights.round} are set in block ${weights.block}, for ${weights.weights.length} neurons`);
            onWeights?.(weights);
          },
          tell: (trouble) => trouble && this.say(`Weights: ${trouble.message} ${trouble.hint} [${trouble.code}]`),
        });
        await this.weigh();
        return;
      } catch (error) {
        const { code, message, hint } = SwarmError.from(error);
        this.say(`${message} ${hint} [${code}]`);
        await pause(RETRY_MS);
      }
    }
  }

  private async chainOf({ kind, netuid, network }: ChainView): Promise<Chain> {
    const { endpoint, url } = this.options;
    if (kind === 'embedded') return RemoteDevChain.open(url, { pause });
    if (!endpoint) throw new SwarmError('CONFIG_INVALID', 'The server pays on a chain of others: give a node of it with --chain.');
    const after = (ms: number, task: () => void) => {
      const timer = setTimeout(task, ms);
      return () => clearTimeout(timer);
    };
    const onTrouble = (error: SwarmError | null) => error && this.say(`The chain: ${error.message} ${error.hint} [${error.code}]`);
    const chain = await SubtensorChain.open({ endpoint, netuid, genesis: network || null, after, onTrouble });
    void chain.run();
    return chain;
  }

  private async runId(): Promise<string> {
    return (await getJson<RunSnapshot>(`${this.options.url}/v1/run`)).config.runId;
  }

  private weighing: Promise<void> = Promise.resolve();
  private weigh(): Promise<void> {
    this.weighing = this.weighing.then(async () => {
      try {
        const read = await this.books?.read();
        if (read && read.scores.size > 0) this.loop?.set(read);
      } catch (error) {
        const { code, message } = SwarmError.from(error);
        this.say(`The ledger could not be read: ${message} [${code}] It is read again after the next round.`);
      }
    });
    return this.weighing;
  }
}

const hashOf = async (secret: string) => new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret)));
