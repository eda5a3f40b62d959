/** The server in one process: corpus, checkpoints, run, HTTP and sockets, put together. */
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { parseBoundary } from '@starling/codecs';
import { cutStages, DILOCO, layoutOf, presetOf, SPARSE_LOCO } from '@starling/model';
import { type ChainView, type RunConfig, type RunSnapshot, type StepPoint, SwarmError } from '@starling/protocol';
import { shardCount } from '@starling/reduce';
import { openStore } from '@starling/store';
import { Addresses } from './addresses.ts';
import { LocalValidator } from './audits/local-validator.ts';
import { Panel } from './audits/panel.ts';
import { ValidatorSockets } from './audits/validator-sockets.ts';
import { Blobs } from './blobs.ts';
import { TAO } from './chain/embedded.ts';
import { halfLifeOf, openPaymaster } from './chain/open.ts';
import { openCheckpoints } from './checkpoints.ts';
import { loadCorpus, Sampler } from './corpus.ts';
import { lockData } from './data-lock.ts';
import type { FileSystem } from './durable-files.ts';
import { Gateway } from './gateway.ts';
import { createHttp } from './http.ts';
import { Identity } from './identity.ts';
import { modelRoutes } from './model-routes.ts';
import { Models } from './models.ts';
import { addMomentRoutes, Moments } from './moments/moments.ts';
import { DEFAULT_OPTIONS, type ServerOptions } from './options.ts';
import { Refusals } from './refusals.ts';
import { ledgerOf } from './rounds.ts';
import { Run } from './run.ts';

export { DEFAULT_OPTIONS, parseServerArgs, SERVER_HELP, type ServerOptions, wholeNumber } from './options.ts';

export interface RunningServer {
  url: string;
  port: number;
  snapshot(): RunSnapshot;
  points(): StepPoint[];
  onStep(listener: (point: StepPoint) => void): () => void;
  chain(): Promise<ChainView>;
  /** Resolves at the end of the chain's next epoch. */
  nextEpoch(): Promise<void>;
  /** Resolves when the last step is merged; never for a run without end. */
  completed: Promise<void>;
  /** Resolves with what makes going on impossible: close, end, and start again. */
  failed: Promise<SwarmError>;
  /** Writes a last checkpoint and a last snapshot, and closes every connection. */
  close(): Promise<void>;
}

/**
 * Throws `CONFIG_INVALID`, `CORPUS_UNUSABLE`, `CHECKPOINT_FAILED`, `STORE_FAILED`, `LOG_UNREADABLE`, `DATA_IN_USE` or `PORT_IN_USE`.
 * `fs` is for tests of checkpoints on failing disks.
 */
export async function startServer(given: Partial<ServerOptions> = {}, fs?: FileSystem): Promise<RunningServer> {
  // What is not given is not an answer.
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  const options: ServerOptions = { ...DEFAULT_OPTIONS, ...Object.fromEntries(said) };
  const unlock = lockData(options.dataDir);
  try {
    const server = await start(options, fs);
    return { ...server, close: () => server.close().finally(unlock) };
  } catch (error) {
    unlock();
    throw error;
  }
}

async function start(options: ServerOptions, fs?: FileSystem): Promise<RunningServer> {
  const { log, dataDir } = options;
  const preset = presetOf(options.preset);
  const sequences = options.sequences ?? preset.sequences;
  const corpus = await loadCorpus(options.corpus);
  const sampler = new Sampler(corpus, { sequences, context: preset.shape.context, seed: options.seed });
  log(
    `Corpus: ${corpus.name}, ${corpus.files} files, ${(corpus.train.length / 1e6).toFixed(2)} MB for training, ${(corpus.heldOut.length / 1e6).toFixed(2)} MB held out${corpus.skipped ? `; ${corpus.skipped} files left out (no UTF-8 text, or copies)` : ''}.`,
  );

  const checkpoints = await openCheckpoints(join(dataDir, 'checkpoints'), {
    fs,
    onWarning: (warning) => log(`warning: ${warning.message} [${warning.code}]`),
  });
  const { innerSteps: innerStepCount, innerMicrobatches } = options;
  const { learningRate, momentum } = options.outer === 'diloco' ? DILOCO : SPARSE_LOCO;
  const inner = innerStepCount > 1 ? { steps: innerStepCount, microbatches: innerMicrobatches, learningRate, momentum } : null;
  if (options.overlap && (inner || options.clip === 'global'))
    throw new SwarmError(
      'CONFIG_INVALID',
      `--overlap goes with gradients of every step and --clip stage: it cannot be had with ${inner ? '--inner-steps' : '--clip global'}.`,
    );
  const microbatchesPerStep = (options.microbatchesPerStep ?? preset.microbatchesPerStep) * innerStepCount;
  const minMicrobatches = options.minMicrobatches ?? Math.ceil(0.75 * microbatchesPerStep);
  if (minMicrobatches > microbatchesPerStep)
    throw new SwarmError('CONFIG_INVALID', `--min-microbatches ${minMicrobatches} is more than a step has: ${microbatchesPerStep}.`);
  const { squeeze, boundary } = parseBoundary(options.boundary, preset.shape.width);
  const config: RunConfig = {
    runId: crypto.randomUUID(),
    preset: preset.name,
    model: squeeze ? { ...preset.shape, squeeze: { ...squeeze, seed: options.seed } } : preset.shape,
    stages: cutStages(preset.shape, options.stages),
    sequences,
    microbatchesPerStep,
    steps: options.steps,
    validateEvery: options.validateEvery,
    clip: options.clip,
    boundary,
    ...(options.precision === 'f16' && { precision: options.precision }),
    gradient: options.gradient,
    merged: options.merged,
    medianClip: options.medianClip,
    inner,
    overlap: options.overlap,
    seed: options.seed,
  };
  const sizes = config.stages.map((stage) => layoutOf(config.model, stage).size);
  const largest = Math.max(sequences * config.model.context * config.model.width, ...sizes);
  const identity = await Identity.open(dataDir);
  const blobs = await Blobs.open(join(dataDir, 'blobs'), join(dataDir, 'temporary'), {
    // A gradient whose shards are all on the way, and the results of reductions.
    uploads: 8 + 2 * Math.max(...sizes.map((size) => shardCount(size, options.maxMiners))),
    bytes: 4 * (4 * largest + 1024),
  });
  const where = options.store ?? join(dataDir, 'log.sqlite');
  const store = await openStore(where);
  const models = await Models.open(join(dataDir, 'models'), join(dataDir, 'temporary-models'), config.stages.length, fs);
  const { checkpointEvery } = options;
  const validator = new LocalValidator(options.auditBackend, options.auditThreads);
  const panel = new Panel(
    {
      backend: options.auditBackend,
      // Of this run: another in the same data folder begins with secrets that nobody was told.
      secretOf: (epoch) => Buffer.from(identity.seed(`audits ${run.view.config.runId} ${epoch}`)).toString('hex'),
      validate: (run, evidence, urgent) => validator.validate(run, evidence, urgent),
    },
    { now: Date.now, random: () => randomInt(2 ** 32) / 2 ** 32, tell: (code, message) => run.report('warning', code, message) },
  );
  const run = await Run.open({
    config,
    minMicrobatches,
    spotCheck: options.spotCheck,
    secret: Buffer.from(identity.seed('reductions')).toString('hex'),
    corpusHash: corpus.hash,
    optimizer: preset.optimizer,
    sampler,
    store,
    blobs,
    checkpoints,
    checkpointEvery,
    panel: options.audits ? panel : null,
    roundSteps: options.roundSteps,
    heldSteps: options.heldSteps,
    halfLife: halfLifeOf(options),
    models,
    log,
  }).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  const serverName = options.publicName ?? identity.serverName;
  const refusals = new Refusals(run);
  const paymaster = await openPaymaster({
    options,
    identity,
    server: serverName,
    ledger: await ledgerOf(store),
    report: (level, code, message) => run.report(level, code, message),
  }).catch(async (error: unknown) => {
    await run.close();
    throw error;
  });
  run.onRound((round) => paymaster.closed(round));
  const addresses = new Addresses({
    most: options.addressMiners,
    header: options.addressHeader ?? null,
    isHere: (minerId) => run.coordinator.miner(minerId) !== undefined,
  });
  const http = await createHttp({
    run,
    blobs,
    identity,
    refusals,
    paymaster,
    panel,
    addresses,
    blockMs: options.blockMs,
    webRoot: options.webRoot,
    // The largest tensor that ever travels, as a frame.
    maxBlobBytes: 4 * largest + 1024,
    leave: (minerId, socketId) => gateway.leaveBy(minerId, socketId),
  });
  modelRoutes(http, run, models);
  const moments = new Moments(where);
  addMomentRoutes(http, moments);
  const { maxMiners } = options;
  const gateway = new Gateway(http.server, { run, blobs, identity, serverName, refusals, maxMiners, addresses });
  const validators = new ValidatorSockets(gateway.namespace('/validate'), {
    panel,
    serverName,
    origin: options.publicUrl === undefined ? null : new URL(options.publicUrl).origin,
    minimumStake: BigInt(options.validatorStake) * TAO,
    neuron: (hotkey) => paymaster.neuron(hotkey),
    step: () => run.auditor?.step ?? 0,
  });
  run.onRound((round) => validators.closed(round));
  try {
    await http.listen({ port: options.port, host: options.host });
  } catch (error) {
    await run.close();
    await paymaster.close();
    const busy = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    if (busy) throw new SwarmError('PORT_IN_USE', `Port ${options.port} is taken.`);
    const address = `--host ${options.host} --port ${options.port}`;
    throw new SwarmError('CONFIG_INVALID', `${address} cannot be listened on: ${(error as Error).message}.`, { cause: error });
  }
  const { port } = http.server.address() as { port: number };
  return {
    url: `http://${addressOf(options.host)}:${port}`,
    port,
    snapshot: () => run.view.snapshot(Date.now()),
    points: () => [...run.view.points],
    onStep: (listener) => run.onStep(listener),
    chain: () => paymaster.view(),
    nextEpoch: () => paymaster.nextEpoch(),
    completed: run.completed,
    failed: run.failed,
    close: async () => {
      gateway.close();
      // The checkpoint first: it must not wait for the last connection to end.
      await run.close();
      await validator.close();
      await moments.close();
      await paymaster.close();
      await http.close();
    },
  };
}

/** As part of an address that can be opened on this machine. */
function addressOf(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
