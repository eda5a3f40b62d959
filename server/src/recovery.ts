/**
 * Where a run goes on. The log gives the coordinator's state at its newest input; a checkpoint and the gradients of the
 * merges since give the parameters that belong to it, to the bit, which is checked by hash. Without a log, or when
 * something it needs is gone, the run begins anew at the newest whole checkpoint; without that, at its seed.
 */

import type { Effect, Input } from '@starling/coordinator';
import { LIMITS } from '@starling/coordinator';
import type { OptimizerConfig } from '@starling/model';
import { type RunConfig, type RunEvent, type StepPoint, SwarmError } from '@starling/protocol';
import { Journal, type JournalPorts, type Store } from '@starling/store';
import { Activations } from './activations.ts';
import { gradientOwner } from './blob-owners.ts';
import type { Blobs } from './blobs.ts';
import type { Checkpoints } from './checkpoints.ts';
import { curveBy, eventsBy, mergesAfter } from './records.ts';
import { formatsOf } from './reductions.ts';
import { type Genesis, type Machine, maker, type RunJournal } from './run-log.ts';
import { assertSameRun, readCheckpoint } from './saved-run.ts';
import { initialVectors, StageStates, type StageVectors } from './stage-states.ts';

export interface RecoveryParts {
  /** What the operator asks for; a run that is there keeps its id. */
  config: RunConfig;
  minMicrobatches: number;
  validationMicrobatches: number;
  /** Share of shards, whose reducers agree, that are computed once more. */
  spotCheck: number;
  corpusHash: string;
  optimizer: OptimizerConfig;
  store: Store;
  blobs: Blobs;
  checkpoints: Checkpoints;
  log: (line: string) => void;
}

export interface Recovered {
  config: RunConfig;
  journal: RunJournal;
  states: StageStates;
  activations: Activations;
  points: StepPoint[];
  events: RunEvent[];
  startedAt: number;
  /** There was a log to go on with. */
  resumed: boolean;
  /** Version of the newest checkpoint; −1 without one. */
  saved: number;
}

/** Throws `CONFIG_INVALID` for another run than is there, `LOG_UNREADABLE`, `CHECKPOINT_CORRUPT`, or what the store throws. */
export async function recover(parts: RecoveryParts, ports: JournalPorts<Input, Effect>): Promise<Recovered> {
  const { store, checkpoints, blobs, log } = parts;
  const latest = await checkpoints.latest();
  const checkpoint = latest ? await readCheckpoint(latest) : null;
  const opened = await Journal.open<Input, Effect, Machine>(store, maker, ports);
  const { journal, damage, rulesBefore } = opened;
  const known = journal?.machine.genesis ?? (checkpoint && { run: checkpoint.saved.config, corpusHash: checkpoint.saved.corpusHash });
  if (known) assertSameRun(known, parts.config, parts.corpusHash);
  const config: RunConfig = { ...parts.config, runId: known?.run.runId ?? parts.config.runId };
  const base: StageVectors[] = config.stages.map((stage, index) =>
    checkpoint ? { version: checkpoint.version, ...checkpoint.vectors[index]! } : initialVectors(config.model, stage, config.seed),
  );
  const openStates = () => StageStates.open(config.model, config.stages, base, parts.optimizer, config, blobs);
  const points = (upTo: number) => curveBy(store, Infinity, upTo, checkpoint?.saved.points);
  const common = {
    config,
    events: await eventsBy(store, Infinity),
    startedAt: (await store.entries(0, 1))[0]?.at ?? checkpoint?.saved.startedAt ?? ports.now(),
    saved: checkpoint?.version ?? -1,
  };

  const anew = (why: SwarmError) =>
    log(`warning: The log cannot be gone on with: ${why.message} The run begins anew at step ${base[0]!.version}. [${why.code}]`);
  if (damage) anew(damage);
  if (journal) {
    try {
      const states = await openStates();
      const activations = await goOn(parts, journal, states);
      await blobs.removeUnowned();
      const { coordinator } = journal.machine;
      const step = Math.min(...config.stages.map((_, stage) => coordinator.versionOf(stage)));
      log(`Resumed at step ${step}, with everything that was accepted, from ${store.name}.`);
      if (rulesBefore !== null) log(`From here on the log is of rules ${maker.rules}; until now it was of rules ${rulesBefore}.`);
      return { ...common, resumed: true, journal, states, activations, points: await points(step) };
    } catch (error) {
      if (!(error instanceof SwarmError) || (error.code !== 'BLOB_NOT_FOUND' && error.code !== 'LOG_UNREADABLE')) throw error;
      anew(error);
    }
  } else if (checkpoint && !damage) {
    log(`Resumed at step ${checkpoint.version} from its checkpoint.`);
  }
  const states = await openStates();
  const begun = await opened.begin(genesisOf(parts, config, states));
  await blobs.removeUnowned();
  return { ...common, resumed: false, journal: begun, states, activations: new Activations(blobs), points: await points(base[0]!.version) };
}

/** Brings parameters, tensors and gradients to where the log is. */
async function goOn({ store, blobs }: RecoveryParts, journal: RunJournal, states: StageStates): Promise<Activations> {
  const { coordinator } = journal.machine;
  for (let stage = 0; stage < coordinator.config.stages; stage++) {
    const { version, merge, applying } = coordinator.stage(stage);
    const { contributions, butterfly, summed } = merge;
    const saved = states.at(stage).version;
    if (saved > version)
      throw new SwarmError('LOG_UNREADABLE', `Stage ${stage} is at version ${version} in the log and ${saved} in the checkpoint.`);
    // Those that the checkpoint covers are for miners that are some steps behind; they do without if need be.
    for (const merge of await mergesAfter(store, stage, Math.min(saved, version - LIMITS.mergesKept), version)) {
      if (merge.version > saved) await states.replay(stage, merge);
      else await states.replay(stage, merge).catch(() => {});
    }
    if (states.at(stage).version !== version) {
      throw new SwarmError('LOG_UNREADABLE', `The merges of stage ${stage} after version ${saved} are not all there.`);
    }
    const owner = gradientOwner(stage, merge.version);
    for (const { hashes } of contributions) for (const hash of hashes) await blobs.restore(hash, owner);
    for (const { settled, votes } of butterfly?.view.shards ?? []) {
      if (settled !== null) await blobs.restore(settled, owner);
      // May be a lie that was swept away.
      else for (const { hash } of votes) if (hash !== null) await blobs.restore(hash, owner).catch(() => {});
    }
    if (summed) await states.restoreSum(stage, merge.version, summed);
    if (applying) await states.restoreSum(stage, merge.version - 1, applying);
  }
  const activations = new Activations(blobs);
  await activations.restore(await store.tensors());
  return activations;
}

function genesisOf(parts: RecoveryParts, run: RunConfig, states: StageStates): Genesis {
  return {
    run,
    corpusHash: parts.corpusHash,
    coordinator: {
      stages: run.stages.length,
      microbatchesPerStep: run.microbatchesPerStep,
      minMicrobatches: parts.minMicrobatches,
      validationMicrobatches: parts.validationMicrobatches,
      clip: run.clip,
      overlap: run.overlap,
      reduction: {
        ...formatsOf(run),
        parameters: states.layouts.map(({ size }) => size),
        means: run.inner !== null,
        medianClip: run.medianClip,
        spotCheck: parts.spotCheck,
      },
      validateEvery: run.validateEvery,
      steps: run.steps,
      tokensPerMicrobatch: run.sequences * run.model.context,
      version: states.at(0).version,
      parameterHashes: run.stages.map((_, stage) => states.at(stage).parameterHash),
      // Miners of the log before may still hold leases of it.
      leasePrefix: Date.now().toString(36),
    },
  };
}
