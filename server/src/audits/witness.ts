/**
 * What audits are made from: of every receipt that counted, the tensors that were given and answered, as they were relayed, until the
 * step's audits are drawn. In memory: what a process before this one witnessed is not audited.
 */
import type { Vector } from '@starling/codecs';
import type { LeaseKind } from '@starling/protocol';
import type { StoredTensor } from '../activations.ts';

/** One receipt that counted. */
export interface Witnessed {
  leaseId: string;
  minerId: string;
  kind: LeaseKind;
  microbatch: number;
  round: number;
  said: { inputHash: string; outputHash: string | null; lossSum: number | null };
  input: StoredTensor;
  tokens: StoredTensor | null;
  upstream: StoredTensor | null;
  output: StoredTensor | null;
}

/** A stage in one step. */
export interface Scene {
  stage: number;
  version: number;
  parameters: Vector;
  parameterHash: string;
  receipts: Witnessed[];
}

/** Scenes kept at once, at most: one is drawn when all its gradients are in, unless a process died in between. */
const KEPT_PER_STAGE = 3;

export class Witness {
  private readonly scenes: Map<number, Scene>[];

  constructor(stages: number) {
    this.scenes = Array.from({ length: stages }, () => new Map<number, Scene>());
  }

  /** `parameters` of that version are asked for at the first receipt. */
  add(stage: number, version: number, receipt: Witnessed, parameters: () => Pick<Scene, 'parameters' | 'parameterHash'>): void {
    const scenes = this.scenes[stage]!;
    let scene = scenes.get(version);
    if (!scene) {
      scene = { stage, version, ...parameters(), receipts: [] };
      scenes.set(version, scene);
      for (const old of scenes.keys()) if (scenes.size > KEPT_PER_STAGE) scenes.delete(old);
    }
    scene.receipts.push(receipt);
  }

  /** All that was seen and not taken. */
  get open(): Scene[] {
    return this.scenes.flatMap((scenes) => [...scenes.values()]);
  }

  /** What was seen of this step, which is forgotten. */
  take(stage: number, version: number): Scene | null {
    const scene = this.scenes[stage]!.get(version) ?? null;
    this.scenes[stage]!.delete(version);
    return scene;
  }
}
