/**
 * For tests and benchmarks: the real state machine among virtual members, with real gradients, real encodings and real hashes, over
 * a network that delays, loses and repeats, in virtual time. The same seed is the same merge.
 */
import { SwarmError, sha256Hex } from '@starling/protocol';
import { Butterfly } from './butterfly.ts';
import type { Bytes, Vector } from './codec.ts';
import { CODECS } from './codecs.ts';
import { seedsOf } from './collecting.ts';
import { Draw } from './draw.ts';
import { inspectShard, reduceShard } from './reduction.ts';
import { encodeShards } from './shards.ts';
import type { ButterflyConfig, ButterflyEffect, ButterflyInput, ReductionTask } from './types.ts';

export { Draw };

export interface Behaviour {
  /** Its gradient never comes; its last shard never comes; what it commits is NaN, cut short, too long, or too large. */
  gradient: 'sound' | 'missing' | 'partial' | 'not finite' | 'cut short' | 'too long' | 'too large';
  /**
   * As a reducer it says nothing; leaves as soon as it is asked; reports a sum of its own making; or does so together with others,
   * and only where both reducers of a shard are of that kind.
   */
  reduces: 'soundly' | 'silently' | 'leaves' | 'falsely' | 'in collusion';
}

export const SOUND: Behaviour = { gradient: 'sound', reduces: 'soundly' };

export interface NetworkFaults {
  lost: number;
  twice: number;
  /** Virtual ms a message takes at most. */
  delay: number;
}

export const CALM: NetworkFaults = { lost: 0, twice: 0, delay: 20 };

/** Bytes of one member over one merge. */
export interface Traffic {
  up: number;
  down: number;
  /** Of both: hashes, at 32 bytes each. */
  hashes: number;
}

interface VirtualMember extends Behaviour {
  id: string;
  vector: Vector;
  uploads: { bytes: Bytes; hash: string }[];
  traffic: Traffic;
}

const HASH = 32;
/** Between looks at the clock. */
const TICK = 250;
/** No merge takes so long, with all its deadlines one after another. */
const STANDSTILL = 2_500_000;

export class VirtualMerge {
  machine: Butterfly;
  now = 0;
  readonly log: ButterflyEffect[] = [];
  readonly members: VirtualMember[] = [];
  /** Called after every input, with the machine as it stood before. */
  watch: (input: ButterflyInput, effects: ButterflyEffect[]) => void = () => {};
  private readonly blobs = new Map<string, Bytes>();
  /** What arrives in each virtual ms. */
  private readonly queue = new Map<number, ButterflyInput[]>();
  private readonly config: ButterflyConfig;
  private readonly draw: Draw;
  private readonly faults: NetworkFaults;
  /** Conspirators asked for a shard of a round. */
  private readonly conspirators = new Map<string, number>();

  constructor(config: ButterflyConfig, vectors: readonly Vector[], behaviours: readonly Behaviour[], draw: Draw, faults = CALM) {
    this.config = config;
    this.draw = draw;
    this.faults = faults;
    this.machine = Butterfly.begin(config, 0);
    config.members.forEach(({ id }, i) => {
      const traffic = { up: 0, down: 0, hashes: 0 };
      this.members.push({ ...behaviours[i]!, id, vector: vectors[i]!, uploads: [], traffic });
    });
  }

  /** Runs to the end. Throws when no end comes. */
  async run(): Promise<void> {
    for (const member of this.members) await this.commit(member);
    const ended = () => this.machine.phase === 'done' || this.machine.phase === 'failed';
    for (; !ended(); this.now++) {
      if (this.now > STANDSTILL) throw new Error(`The merge stands still while ${this.machine.phase}.`);
      if (this.now % TICK === 0) await this.handle({ type: 'tick' });
      // What takes no time joins the same list while it is gone through.
      for (const input of this.queue.get(this.now) ?? []) if (!ended()) await this.handle(input);
      this.queue.delete(this.now);
    }
  }

  /** The merged gradient as a member downloads it. */
  async download(member: VirtualMember): Promise<Vector> {
    const merged = this.log.findLast((effect) => effect.type === 'merged')!;
    const result = new Float32Array(this.config.parameters);
    this.machine.view.shards.forEach(({ offset, length }, index) => {
      const bytes = this.blobs.get(merged.hashes[index]!)!;
      member.traffic.down += bytes.length;
      result.set(CODECS[this.config.merged].decode(bytes, length), offset);
    });
    this.exchangeHashes(member, 'down', merged.hashes.length);
    return result;
  }

  private async handle(input: ButterflyInput): Promise<void> {
    const effects = this.machine.handle(input, this.now);
    this.log.push(...effects);
    this.watch(input, effects);
    for (const effect of effects)
      if (effect.type === 'reduce' && this.member(effect.memberId).reduces === 'in collusion') this.conspire(effect);
    for (const effect of effects) await this.carryOut(effect);
  }

  private async carryOut(effect: ButterflyEffect): Promise<void> {
    switch (effect.type) {
      case 'draw':
        this.send({ type: 'seed', ...(await seedsOf(effect.over, 'secret')) });
        break;
      case 'upload':
        for (const shard of effect.shards) await this.upload(this.member(effect.memberId), shard);
        break;
      case 'reduce':
        await this.reduce(this.member(effect.memberId), effect);
        break;
      case 'recompute':
      case 'spotCheck': {
        const { round, shard } = effect;
        this.send({ type: 'recomputed', round, shard, hash: await this.put(this.reduction(effect)) });
        break;
      }
    }
  }

  private async commit(member: VirtualMember): Promise<void> {
    if (member.gradient === 'missing') return;
    const { shards } = this.machine.view;
    const encoded = encodeShards(CODECS[this.config.codec], member.vector, shards).map((bytes) => this.spoil(member, bytes));
    for (const bytes of encoded) member.uploads.push({ bytes, hash: await sha256Hex(bytes) });
    this.exchangeHashes(member, 'up', encoded.length);
    this.send({ type: 'commit', memberId: member.id, hashes: member.uploads.map(({ hash }) => hash) });
  }

  private spoil({ gradient }: VirtualMember, bytes: Bytes): Bytes {
    if (gradient === 'cut short') return bytes.slice(1);
    if (gradient === 'too long') return new Uint8Array([...bytes, 0]);
    // The first four bytes are a number, a scale or a level in each codec.
    const first = new DataView(bytes.buffer);
    if (gradient === 'not finite') first.setFloat32(0, Number.NaN, true);
    if (gradient === 'too large') first.setFloat32(0, 3e38, true);
    return bytes;
  }

  /** What arrives is looked at as a gateway would look at it. */
  private async upload(member: VirtualMember, shard: number): Promise<void> {
    if (member.gradient === 'partial' && shard === member.uploads.length - 1) return;
    const { bytes, hash } = member.uploads[shard]!;
    member.traffic.up += bytes.length;
    const { codec, members } = this.config;
    const about = { memberId: member.id, shard, hash };
    try {
      const squares = inspectShard(CODECS[codec], bytes, this.machine.view.shards[shard]!.length, members.length);
      this.blobs.set(hash, bytes);
      this.send({ type: 'upload', ...about, squares });
    } catch (error) {
      const { code, message } = SwarmError.from(error);
      this.send({ type: 'spoiled', ...about, code, message });
    }
  }

  private async reduce(member: VirtualMember, task: ReductionTask): Promise<void> {
    const { round, shard, contributions } = task;
    this.exchangeHashes(member, 'down', contributions.length);
    if (member.reduces === 'silently') return;
    if (member.reduces === 'leaves') {
      this.send({ type: 'left', memberId: member.id });
      return;
    }
    for (const { hash } of contributions) member.traffic.down += this.blobs.get(hash)!.length;
    const bytes = this.reduction(task);
    const together = (this.conspirators.get(`${round}:${shard}`) ?? 0) >= 2;
    if (member.reduces === 'falsely') bytes[0]! ^= 1 + (this.members.indexOf(member) % 255);
    if (member.reduces === 'in collusion' && together) bytes[0]! ^= 128;
    const hash = await this.put(bytes);
    member.traffic.up += bytes.length;
    this.exchangeHashes(member, 'up', 1);
    this.send({ type: 'result', memberId: member.id, round, shard, hash });
  }

  private conspire({ round, shard }: ReductionTask): void {
    const key = `${round}:${shard}`;
    this.conspirators.set(key, (this.conspirators.get(key) ?? 0) + 1);
  }

  private reduction({ shard, contributions }: ReductionTask): Bytes {
    const { codec, merged } = this.config;
    const inputs = contributions.map(({ hash, scale }) => ({ bytes: this.blobs.get(hash)!, scale }));
    return reduceShard({ codec: CODECS[codec], merged: CODECS[merged] }, this.machine.view.shards[shard]!.length, inputs);
  }

  private async put(bytes: Bytes): Promise<string> {
    const hash = await sha256Hex(bytes);
    this.blobs.set(hash, bytes);
    return hash;
  }

  private exchangeHashes({ traffic }: VirtualMember, direction: 'up' | 'down', count: number): void {
    traffic[direction] += count * HASH;
    traffic.hashes += count * HASH;
  }

  private member(id: string): VirtualMember {
    return this.members.find((member) => member.id === id)!;
  }

  /** To the machine, over the network if it comes from a member. */
  private send(input: ButterflyInput): void {
    const { lost, twice, delay } = this.faults;
    const fromMember = 'memberId' in input;
    if (fromMember && this.draw.chance(lost)) return;
    this.enqueue(input, fromMember ? this.draw.below(delay) + 1 : 0);
    if (fromMember && this.draw.chance(twice)) this.enqueue(input, this.draw.below(2 * delay) + 1);
  }

  private enqueue(input: ButterflyInput, delay: number): void {
    const at = this.now + delay;
    const arriving = this.queue.get(at);
    if (arriving) arriving.push(input);
    else this.queue.set(at, [input]);
  }
}
