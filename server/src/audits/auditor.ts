/**
 * Draws who is audited in a step, when everybody has said all of it; puts the evidence together; hands it to validators; and tells the
 * coordinator what they found.
 */
import {
  type Attribution,
  type AuditedRun,
  auditRate,
  commitHash,
  type Evidence,
  isComparable,
  LossAttribution,
  rateAtStake,
} from '@starling/audit';
import type { Vector } from '@starling/codecs';
import type { Contributed, Coordinator, Flow, Input } from '@starling/coordinator';
import { countLeases, decodeFrame, SwarmError, type ValidatorView } from '@starling/protocol';
import type { StoredTensor } from '../activations.ts';
import { type Claim, Claims } from './claims.ts';
import { epochOf, type Panel, type Picked } from './panel.ts';
import { type Stake, type StakeParts, stakesIn } from './stakes.ts';
import { type Scene, Witness, type Witnessed } from './witness.ts';

export interface AuditorParts {
  run: AuditedRun;
  coordinator: Coordinator;
  panel: Panel;
  work: Pick<StakeParts, 'flopsOf' | 'stakes'>;
  /** A contribution's gradient sum, decoded. */
  gradientOf(stage: number, hashes: readonly string[]): Vector;
  submit(input: Input): Promise<unknown>;
  /** Audits could not be made, and why. */
  tell(code: string, message: string): void;
}

/**
 * Audits waiting at once, at most, of each kind: who is too slow must not fill the memory. Apart, so that neither strangers nor others' picks
 * crowd out those by which pay is lost.
 */
const MOST_WAITING = 64;
/** Nor may their gradients: of each kind as many wait as fit in so many bytes, and a few. */
const WAITING_BYTES = 2 ** 29;
const LEAST_WAITING = 4;
type Kind = 'proven' | 'newcomers' | 'others';

/** One miner that was drawn in a step. */
interface Draw {
  scene: Scene;
  pick: Picked;
  kind: Kind;
  /** Null: by another, or of a device of whose work nothing counts. */
  claim: Claim | null;
}

/** By which a miner is drawn. */
interface Chance {
  minerId: string;
  /** FLOPs of all that it did in the step. */
  work: number;
  rate: number;
  /** Null: of a device of whose work nothing counts. */
  stake: Stake | null;
}

export class Auditor {
  private readonly attribution = new LossAttribution();
  /** As they were when the newest step was drawn: they are dear, and asked for by every page. */
  private scores: { version: number; attributions: Attribution[] } = { version: -1, attributions: [] };
  private readonly parts: AuditorParts;
  private readonly witness: Witness;
  private readonly claims = new Claims();
  private readonly waiting: Record<Kind, number> = { proven: 0, newcomers: 0, others: 0 };
  /** By device: how many of its steps the server's own is looking at. */
  private readonly looking = new Map<string, number>();

  constructor(parts: AuditorParts) {
    this.parts = parts;
    this.witness = new Witness(parts.run.stages.length);
  }

  /** A receipt counted. `flow`: of its microbatch. */
  saw(stage: number, version: number, receipt: Witnessed, flow: Flow, parameters: Parameters<Witness['add']>[3]): void {
    this.witness.add(stage, version, receipt, parameters);
    const { lossSum } = receipt.said;
    const { run } = this.parts;
    if (lossSum === null || receipt.kind !== 'backward') return;
    const path = flow.cells.map((cell) => cell.forward?.minerId ?? receipt.minerId);
    this.attribution.add({ step: version, path, loss: lossSum / (run.sequences * run.model.context) });
  }

  /** Whose paths lose more than they should, as of the newest step that was drawn. */
  get attributions(): readonly Attribution[] {
    return this.scores.attributions;
  }

  /** The step whose work is being done. */
  get step(): number {
    const { coordinator, run } = this.parts;
    return Math.min(...run.stages.map((_, stage) => coordinator.versionOf(stage)));
  }

  /** The server's own first, with the secrets that will draw no more. */
  validators(): Promise<ValidatorView[]> {
    return this.parts.panel.view(this.step);
  }

  /**
   * All gradients of this step are in: everybody has said all of it. Resolves when it is drawn and what is needed was taken; audits go
   * on by themselves. Never throws: the merge goes on in any case.
   */
  async draw(stage: number, version: number, contributions: readonly Contributed[]): Promise<void> {
    await this.drawFrom(stage, version, contributions).catch((error: unknown) => {
      const { code, message } = SwarmError.from(error);
      this.parts.tell(code, `Step ${version} of stage ${stage} is not audited: ${message}`);
    });
  }

  private async drawFrom(stage: number, version: number, contributions: readonly Contributed[]): Promise<void> {
    const scene = this.witness.take(stage, version);
    if (!scene) return;
    const byMiner = Map.groupBy(scene.receipts, ({ minerId }) => minerId);
    const commits = await Promise.all(
      [...byMiner].map(async ([minerId, receipts]) => {
        const own = contributions.filter((contribution) => contribution.minerId === minerId);
        const said = receipts.map(({ leaseId, said }) => ({ leaseId, ...said }));
        return { minerId, hash: await commitHash(said, own.map(({ hashes }) => hashes.join()).join() || null) };
      }),
    );
    if (version > this.scores.version) this.scores = { version, attributions: this.attribution.scores() };
    const { coordinator } = this.parts;
    const byOwner = Map.groupBy(this.scores.attributions, ({ minerId }) => coordinator.ownerOf(minerId));
    const rateOf = (minerId: string) => {
      const { cleanSteps, failedAudits, passedAudits } = coordinator.reputation(minerId);
      const owner = coordinator.ownerOf(minerId);
      const own = byOwner.get(owner) ?? [];
      const unseen = passedAudits === 0 && !this.looking.has(owner);
      return auditRate({ unseen, cleanSteps, failures: failedAudits, zScore: Math.max(0, ...own.map(({ zScore }) => zScore)) });
    };
    const stakeOf = stakesIn(scene, this.witness.open, { ...this.parts.work, ownerOf: (minerId) => coordinator.ownerOf(minerId) });
    const chances = commits.map(({ minerId }): Chance => {
      const stake = stakeOf(minerId);
      const rate = Math.max(rateOf(minerId), stake ? rateAtStake(stake.work, stake.held) : 0);
      const work = byMiner.get(minerId)!.reduce((sum, { kind }) => sum + this.parts.work.flopsOf({ kind, stage }), 0);
      return { minerId, work, rate, stake };
    });
    const rates = chances.map(({ rate }) => rate);
    const picks = await this.parts.panel.draw({ stage, version, epoch: epochOf(version), commits, rates });
    const claims = this.claim(chances, picks);
    const fitting = Math.floor(WAITING_BYTES / scene.parameters.byteLength);
    const mostWaiting = Math.min(MOST_WAITING, Math.max(LEAST_WAITING, fitting));
    const left: string[] = [];
    for (const pick of picks) {
      const { minerId } = pick;
      const kind = this.kindOf(pick);
      const claim = claims.get(minerId) ?? null;
      const draw: Draw = { scene, pick, kind, claim };
      const receipts = byMiner.get(minerId)!;
      if (this.waiting[kind] >= mostWaiting) {
        left.push(minerId);
        await this.leaveOut(draw, receipts, 'it was drawn to be audited, and validators are behind.');
        if (claim) this.claims.close(claim);
        continue;
      }
      // Whoever computed again for somebody who was lost handed in a second gradient.
      const own = contributions.filter((contribution) => contribution.minerId === minerId && receipts.some(isIn(contribution)));
      // Each receipt in one audit: what is in no gradient goes with the first.
      const [first = null, ...others] = own;
      const elsewhere = (receipt: Witnessed) => others.some((contribution) => isIn(contribution)(receipt));
      const rest = receipts.filter((receipt) => !elsewhere(receipt));
      const audits = [
        this.audit(draw, rest, first),
        ...others.map((contribution) => this.audit(draw, receipts.filter(isIn(contribution)), contribution)),
      ];
      void Promise.all(audits).then(() => claim && this.claims.close(claim));
    }
    if (left.length > 0) this.parts.tell('AUDITS_BEHIND', behindWith(left, stage, version));
  }

  /** By miner: what the audits may take that the server's own draws; of devices whose work counts. */
  private claim(chances: readonly Chance[], picks: readonly Picked[]): Map<string, Claim> {
    const drawn = new Set(picks.filter(({ validator }) => validator === null).map(({ minerId }) => minerId));
    const claims = new Map<string, Claim>();
    for (const { minerId, work, rate, stake } of chances) {
      if (!stake) continue;
      const owner = this.parts.coordinator.ownerOf(minerId);
      const claim = this.claims.add({ owner, work, rate, held: stake.held }, drawn.has(minerId));
      if (claim) claims.set(minerId, claim);
    }
    return claims;
  }

  private async audit(draw: Draw, receipts: readonly Witnessed[], contribution: Contributed | null): Promise<void> {
    const { scene, pick, kind, claim } = draw;
    const { minerId } = pick;
    const { stage, version } = scene;
    const done = this.lookingAt(pick, kind);
    try {
      const evidence = await this.evidence(scene, receipts, contribution);
      const { verdict, validator } = await this.parts.panel.judge(pick, this.parts.run, version, evidence, kind === 'proven');
      const drawn = claim && { rate: claim.rate, times: claim.times };
      const by = validator === null ? drawn && { drawn } : { validator };
      await this.parts.submit({ type: 'audited', minerId, stage, version, verdict, ...by });
    } catch (error) {
      const { code, message } = SwarmError.from(error);
      this.parts.tell(code, `An audit of miner ${minerId} in step ${version} of stage ${stage} could not be made: ${message}`);
      await this.leaveOut(draw, receipts, 'it was drawn to be audited, and the audit could not be made.');
    } finally {
      done();
    }
  }

  /** An audit begins. Returns what ends it. */
  private lookingAt({ minerId, validator }: Picked, kind: Kind): () => void {
    const owner = this.parts.coordinator.ownerOf(minerId);
    const count = (change: 1 | -1) => {
      this.waiting[kind] += change;
      // Others' verdicts give no pass.
      if (validator !== null) return;
      const many = (this.looking.get(owner) ?? 0) + change;
      if (many > 0) this.looking.set(owner, many);
      else this.looking.delete(owner);
    };
    count(1);
    return () => count(-1);
  }

  /** Drawn, and not looked at: nobody is paid for that, or it would pay to lie when validators are behind. */
  private async leaveOut({ scene: { stage, version }, pick: { minerId }, claim }: Draw, receipts: readonly Witnessed[], message: string) {
    if (!claim) return;
    const left = this.parts.submit({ type: 'unaudited', minerId, stage, version, leases: countLeases(receipts), message });
    await left.catch((error: unknown) => this.parts.tell(SwarmError.from(error).code, `${message} ${SwarmError.from(error).message}`));
  }

  private kindOf({ minerId, validator }: Picked): Kind {
    if (validator !== null) return 'others';
    return this.parts.coordinator.reputation(minerId).passedAudits > 0 ? 'proven' : 'newcomers';
  }

  private async evidence(scene: Scene, receipts: readonly Witnessed[], contribution: Contributed | null): Promise<Evidence> {
    const { stage, parameters, parameterHash } = scene;
    const { run, gradientOf } = this.parts;
    const inSum = new Set(contribution && receipts.filter(isIn(contribution)));
    // A sum is held against its replay only if all of it was seen, and if nothing of it is held back. First of all: when the merge
    // is done, its uploads are forgotten.
    const whole = contribution !== null && inSum.size === contribution.microbatches.length;
    const gradient = whole && isComparable(run.gradient) ? gradientOf(stage, contribution.hashes) : null;
    const leases = await Promise.all(
      receipts.map(async (receipt) => ({
        leaseId: receipt.leaseId,
        kind: receipt.kind,
        microbatch: receipt.microbatch,
        said: receipt.said,
        inSum: inSum.has(receipt),
        input: await read(receipt.input),
        tokens: receipt.tokens && (await read(receipt.tokens)),
        upstream: receipt.upstream && (await read(receipt.upstream)),
        output: receipt.output && (await read(receipt.output)),
      })),
    );
    return { stage, parameters, parameterHash, leases, gradient };
  }
}

/** Once for all: of a crowd that comes at the same time most are left out. */
function behindWith(left: readonly string[], stage: number, version: number): string {
  const [one] = left;
  const who = left.length === 1 ? `miner ${one} is` : `${left.length} miners, ${one} among them, are`;
  return `As many audits as can wait do so: ${who} not audited in step ${version} of stage ${stage}.`;
}

const isIn =
  (contribution: Contributed) =>
  ({ kind, microbatch, round }: Witnessed) =>
    kind === 'backward' && round === contribution.round && contribution.microbatches.includes(microbatch);

const read = async ({ frame }: StoredTensor) => (await decodeFrame(frame)).data;
