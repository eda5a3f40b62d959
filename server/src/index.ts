/** The server in one process: corpus, checkpoints, run, HTTP and sockets, put together. */
import { join } from 'node:path';
import { cutStages, presetOf } from '@starling/model';
import { type RunConfig, type RunSnapshot, type StepPoint, SwarmError } from '@starling/protocol';
import { Blobs } from './blobs.ts';
import { type FileSystem, openCheckpoints } from './checkpoints.ts';
import { loadCorpus, Sampler } from './corpus.ts';
import { lockData } from './data-lock.ts';
import { Gateway } from './gateway.ts';
import { createHttp } from './http.ts';
import { Identity } from './identity.ts';
import { DEFAULT_OPTIONS, type ServerOptions } from './options.ts';
import { Run } from './run.ts';
import { assertSameRun, readCheckpoint } from './saved-run.ts';
import { StageStates } from './stage-states.ts';

export { DEFAULT_OPTIONS, parseServerArgs, SERVER_HELP, type ServerOptions, wholeNumber } from './options.ts';

export interface RunningServer {
  url: string;
  port: number;
  snapshot(): RunSnapshot;
  points(): StepPoint[];
  onStep(listener: (point: StepPoint) => void): () => void;
  /** Resolves when the last step is merged; never for a run without end. */
  completed: Promise<void>;
  /** Writes a last checkpoint and closes every connection. */
  close(): Promise<void>;
}

/** Throws `CONFIG_INVALID`, `CORPUS_UNUSABLE`, `CHECKPOINT_FAILED`, `DATA_IN_USE` or `PORT_IN_USE`. `fs` is for tests of failing disks. */
export async function startServer(given: Partial<ServerOptions> = {}, fs?: FileSystem): Promise<RunningServer> {
  const options = { ...DEFAULT_OPTIONS, ...given };
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
    `Corpus: ${corpus.name}, ${corpus.files} files, ${(corpus.train.length / 1e6).toFixed(2)} MB for training, ${(corpus.heldOut.length / 1e6).toFixed(2)} MB held out.`,
  );

  const checkpoints = await openCheckpoints(join(dataDir, 'checkpoints'), {
    fs,
    onWarning: (warning) => log(`warning: ${warning.message} [${warning.code}]`),
  });
  const latest = await checkpoints.latest();
  const resumed = latest ? await readCheckpoint(latest) : null;
  const config: RunConfig = {
    runId: resumed?.saved.config.runId ?? crypto.randomUUID(),
    preset: preset.name,
    model: preset.shape,
    stages: cutStages(preset.shape, options.stages),
    sequences,
    microbatchesPerStep: options.microbatchesPerStep ?? preset.microbatchesPerStep,
    steps: options.steps,
    validateEvery: options.validateEvery,
    seed: options.seed,
  };
  if (resumed) assertSameRun(resumed.saved, config, corpus.hash);

  const blobs = new Blobs();
  const states = await StageStates.open(config.model, config.stages, resumed ?? { seed: config.seed }, preset.optimizer, blobs);
  if (resumed) log(`Resumed at step ${resumed.version} from ${dataDir}.`);
  const run = new Run({
    config,
    corpusHash: corpus.hash,
    optimizer: preset.optimizer,
    sampler,
    states,
    blobs,
    checkpoints,
    checkpointEvery: options.checkpointEvery,
    resumed: resumed?.saved ?? null,
    log,
  });
  const identity = await Identity.open(dataDir);
  const boundaryElements = sequences * config.model.context * config.model.width;
  const largest = Math.max(boundaryElements, ...states.layouts.map((layout) => layout.size));
  // The largest tensor that ever travels, as a frame.
  const http = await createHttp(run, blobs, identity, options.webRoot, 4 * largest + 1024);
  const gateway = new Gateway(http.server, run, blobs, identity);
  try {
    await http.listen({ port: options.port, host: options.host });
  } catch (error) {
    await run.close();
    const busy = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    if (busy) throw new SwarmError('PORT_IN_USE', `Port ${options.port} is taken.`);
    const address = `--host ${options.host} --port ${options.port}`;
    throw new SwarmError('CONFIG_INVALID', `${address} cannot be listened on: ${(error as Error).message}.`, { cause: error });
  }
  const { port } = http.server.address() as { port: number };
  return {
    url: `http://${options.host === '0.0.0.0' ? 'localhost' : options.host}:${port}`,
    port,
    snapshot: () => run.view.snapshot(Date.now()),
    points: () => [...run.view.points],
    onStep: (listener) => run.onStep(listener),
    completed: run.completed,
    close: async () => {
      gateway.close();
      // The checkpoint first: it must not wait for the last connection to end.
      await run.close();
      await http.close();
    },
  };
}
