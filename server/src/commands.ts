/**
 * What miners are told: the coordinator's effects as commands, with the tensors that go with them. What one of them needs
 * time for (hashing, disk) holds up those behind it, so that commands to one miner keep their order.
 */
import type { Coordinator, Effect } from '@starling/coordinator';
import { type CommandName, type Commands, explain, type RunConfig } from '@starling/protocol';
import type { Activations, Key, Purpose } from './activations.ts';
import type { Sampler } from './corpus.ts';
import { Queues } from './queues.ts';
import type { StageStates } from './stage-states.ts';
import type { RunView } from './view.ts';

type Of<T extends Effect['type']> = Extract<Effect, { type: T }>;
export type CommandEffect = Of<'assign' | 'grant' | 'cancel' | 'collect' | 'wait' | 'distribute' | 'reduce' | 'prefetch' | 'dismiss'>;

/** How the run reaches miners; a command to a miner that is not connected is dropped. */
export interface Outlet {
  send<K extends CommandName>(minerId: string, name: K, message: Commands[K]): void;
  /** Closes its socket, so that it says hello again. */
  dismiss(minerId: string): void;
}

export interface CommandParts {
  config: RunConfig;
  coordinator: Coordinator;
  states: StageStates;
  activations: Activations;
  sampler: Sampler;
  view: RunView;
  fault(error: unknown): void;
}

export class MinerCommands {
  private readonly parts: CommandParts;
  private readonly queues: Queues<string>;
  private outlet: Outlet = { send: () => {}, dismiss: () => {} };

  constructor(parts: CommandParts) {
    this.parts = parts;
    this.queues = new Queues(parts.fault);
  }

  connect(outlet: Outlet): void {
    this.outlet = outlet;
  }

  /** Resolves when all that was to be told this miner before is told. */
  told(minerId: string): Promise<void> {
    return this.queues.done(minerId);
  }

  tell<K extends CommandName>(minerId: string, name: K, message: Commands[K]): void {
    this.queues.add(minerId, async () => this.outlet.send(minerId, name, message));
  }

  carryOut(effect: CommandEffect): void {
    switch (effect.type) {
      case 'assign':
        this.queues.add(effect.minerId, () => this.assign(effect));
        break;
      case 'grant':
        this.queues.add(effect.minerId, () => this.grant(effect));
        break;
      case 'cancel':
        this.tell(effect.minerId, 'cancel', { leaseId: effect.leaseId });
        break;
      case 'collect': {
        const { minerId, type: _, ...collect } = effect;
        this.tell(minerId, 'collect', collect);
        break;
      }
      case 'wait': {
        const { minerId, reason, since, until } = effect;
        this.tell(minerId, 'wait', { ...explain(reason), since, until });
        break;
      }
      case 'distribute': {
        const { version, shards, parameterHash } = effect.merge;
        const update = this.parts.states.updateOf(effect.merge);
        this.tell(effect.minerId, 'merge', { stage: effect.stage, version, shards, update, parameterHash });
        break;
      }
      case 'reduce': {
        const { minerId, type: _, contributions, ...task } = effect;
        const { shards } = this.parts.coordinator.stage(effect.stage).merge;
        const uploads = contributions.map(({ hash, scale }) => ({ hash, scale }));
        this.tell(minerId, 'reduce', { ...task, shards, contributions: uploads });
        break;
      }
      case 'prefetch':
        this.tell(effect.minerId, 'prefetch', { stage: effect.stage, shards: effect.shards });
        break;
      case 'dismiss':
        this.queues.add(effect.minerId, async () => this.outlet.dismiss(effect.minerId));
        break;
    }
  }

  private async assign({ minerId, stage, round, why }: Of<'assign'>): Promise<void> {
    const { states } = this.parts;
    const { version, state } = states.serve(stage);
    this.outlet.send(minerId, 'assign', { stage, round, version, state: await state, inner: states.innerNumbersAt(version), why });
  }

  private async grant({ minerId, lease }: Of<'grant'>): Promise<void> {
    const { id, kind, stage, version, microbatch, round, deadlineMs, sendInput } = lease;
    const purpose: Purpose = kind === 'evaluate' ? 'validate' : 'train';
    const { config, activations, view } = this.parts;
    const last = stage === config.stages.length - 1;
    await this.sample({ stage, version, purpose, microbatch });
    const tensor = (slot: Key['slot']) => activations.get({ stage, version, purpose, microbatch, slot });
    const input = tensor('input');
    if (!input) return; // the stage has merged this step while the command waited: the lease is void
    const lent = {
      id,
      kind,
      stage,
      version,
      microbatch,
      round,
      deadlineMs,
      input: sendInput ? input.payload : null,
      inputHash: input.hash,
      outputGradient: kind === 'backward' && !last ? (tensor('outputGradient')?.payload ?? null) : null,
      targets: last && kind !== 'forward' ? (tensor('targets')?.payload ?? null) : null,
      tokens: sendInput ? (tensor('tokens')?.payload ?? null) : null,
    };
    const inline = [lent.input, lent.outputGradient, lent.targets, lent.tokens].filter((payload) => payload instanceof Uint8Array);
    view.carried(inline.reduce((sum, bytes) => sum + bytes.byteLength, 0));
    this.outlet.send(minerId, 'lease', lent);
  }

  /** Puts what this stage needs of the microbatch's text into memory, once. It follows from the corpus. */
  private async sample(of: Omit<Key, 'slot'>): Promise<void> {
    const { sampler, config, states, activations } = this.parts;
    const { stage, version, purpose, microbatch } = of;
    const slots: ('input' | 'targets' | 'tokens')[] = [];
    if (stage === 0) slots.push('input');
    else if (config.model.squeeze?.kind === 'subspace') slots.push('tokens');
    if (stage === config.stages.length - 1) slots.push('targets');
    const missing = slots.filter((slot) => !activations.get({ ...of, slot }));
    if (missing.length === 0 || states.at(stage).version !== version) return;
    const { tokens, targets } = purpose === 'train' ? sampler.train(microbatch) : sampler.validation(microbatch);
    const shape = [config.sequences, config.model.context];
    // A byte is enough for a byte: these cross besides what is made as small as can be.
    const small = config.model.vocabulary <= 256 ? Uint8Array.from(tokens) : tokens;
    const data = { input: tokens, targets, tokens: small };
    for (const slot of missing) {
      const tensor = await activations.encode(data[slot], shape);
      if (states.at(stage).version !== version) return; // merged meanwhile
      activations.put({ ...of, slot }, tensor);
    }
  }
}
