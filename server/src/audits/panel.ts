/**
 * The validators: the server's own, and others with a hotkey, a stake and a secret of their own, as long as they are connected. Each
 * draws by its own secret, so that nobody knows who is audited but who audits. The server's own always draws at the full rate; what
 * others draw comes on top. So no other validator can have a miner looked at less often, or punished.
 */
import { type AuditedRun, challengeSeed, drawAudits, type Evidence, inDrawnOrder, secretHash } from '@starling/audit';
import {
  type AuditVerdict,
  type DrawRequest,
  type ErrorCode,
  SwarmError,
  type ValidatorRequestName,
  type ValidatorRequests,
  type ValidatorView,
} from '@starling/protocol';

/** The server's own. */
export interface House {
  backend: string;
  secretOf(epoch: number): string;
  /** Computes evidence again; what is urgent before all that waits and is not. Throws when it cannot. */
  validate(run: AuditedRun, evidence: Evidence, urgent: boolean): Promise<AuditVerdict>;
}

/** One that is connected. */
export interface Juror {
  hotkey: string;
  backend: string;
  /** Rejects when there is no answer in so many ms, or one that does not fit. */
  ask<K extends ValidatorRequestName>(name: K, asked: ValidatorRequests[K]['asked'], ms: number): Promise<ValidatorRequests[K]['answered']>;
}

export interface PanelPorts {
  /** Unix ms. */
  now(): number;
  /** In [0, 1), and nobody foresees it. */
  random(): number;
  tell(code: ErrorCode, message: string): void;
}

/** Who is audited, by whom; null: by the server's own. */
export interface Picked {
  minerId: string;
  validator: string | null;
}

/** A merge waits for the draw, but not for long: who does not answer by then is not asked again for a while. */
const DRAW_MS = 1_000;
/** The way around the world and back. Who takes longer over a draw has merges wait for the thirtieth part of the time at most. */
const PROMPT_MS = 250;
const LATE_PAUSE = 30;
const AUDIT_MS = 120_000;
const SHORT_MS = 10_000;
const SILENT_MS = 60_000;
/** Share of passed verdicts that are computed once more: whoever says "passed" without computing is found. */
const PASSED_CHECKED = 0.125;
const MOST_DISPUTES = 3;
const DISMISSED_MS = 24 * 3_600_000;
/** A validator may pick so many times what its rates explain, and one more: whether its secret drew them is known only afterwards. */
const MOST_PICKS = 4;
/** Steps that one secret draws for. */
export const SECRET_STEPS = 30;
/** Secrets of before that are told. */
const SECRETS_TOLD = 10;

export const epochOf = (version: number): number => Math.floor(version / SECRET_STEPS);
/** The newest epoch of which no step will be drawn any more: with overlap the step before the present one may not be drawn yet. */
export const lastOver = (version: number): number => epochOf(Math.max(0, version - 1)) - 1;

interface Epoch {
  hash: string;
  secret: string | null;
  /** To be drawn again when the secret is told. */
  draws: { asked: DrawRequest; minerIds: string[] }[];
}

interface Standing {
  hotkey: string;
  backend: string;
  juror: Juror | null;
  epochs: Map<number, Epoch>;
  audits: number;
  disputes: number;
  silentUntil: number;
  /** It was late with a draw. */
  lateUntil: number;
  dismissedUntil: number;
}

/** Whom this secret draws. */
export async function drawnBy(secret: string, { stage, version, commits, rates }: DrawRequest): Promise<string[]> {
  const rateOf = new Map(commits.map(({ minerId }, i) => [minerId, rates[i] ?? 0]));
  return drawAudits(await challengeSeed(secret, stage, version, commits), commits, (minerId) => rateOf.get(minerId) ?? 0);
}

export class Panel {
  readonly house: House;
  private readonly ports: PanelPorts;
  private readonly standings = new Map<string, Standing>();
  /** Evidence that connected validators were asked to look at. */
  private readonly shelf = new Map<string, Evidence>();
  private audits = 0;

  constructor(house: House, ports: PanelPorts) {
    this.house = house;
    this.ports = ports;
  }

  /** Of one that is let in; the newer connection of a hotkey wins. Returns what ends it. */
  join(juror: Juror, version: number): () => void {
    const { hotkey, backend } = juror;
    const fresh = { hotkey, epochs: new Map<number, Epoch>(), audits: 0, disputes: 0, silentUntil: 0, lateUntil: 0, dismissedUntil: 0 };
    // What is under way with its connection of before still counts for or against it.
    const standing: Standing = Object.assign(this.standings.get(hotkey) ?? fresh, { backend, juror });
    this.standings.set(hotkey, standing);
    const epoch = epochOf(version);
    void this.commit(standing, epoch);
    void this.commit(standing, epoch + 1);
    return () => {
      if (standing.juror === juror) standing.juror = null;
    };
  }

  /**
   * Draws who is audited of those who said something in a step, and by whom; the server's own picks first. Of n others each draws with an
   * nth of the rates, so that all together cost at most twice what the server's own does. Takes 1 s at most, and
   * mostly much less.
   */
  async draw(asked: DrawRequest): Promise<Picked[]> {
    const { epoch, rates } = asked;
    const present = [...this.standings.values()].filter((one) => this.isAsked(one));
    for (const one of present) void this.commit(one, epoch + 1);
    const asking = present.filter((one) => one.epochs.has(epoch) && one.lateUntil <= this.ports.now());
    const share = rates.map((rate) => rate / asking.length);
    const picks = await Promise.all(asking.map((one) => this.drawBy(one, { ...asked, rates: share })));
    const secret = this.house.secretOf(epoch);
    // Should there be more than can be waited for, the last are left out: that must not be who is the last to deliver, nor the same in every step.
    const own = await inDrawnOrder(`${secret} ${asked.stage} ${asked.version}`, await drawnBy(secret, asked));
    const byMiner = new Map<string, Picked>();
    // Whom both drew the server's own audits: its draw must be worth the same whatever others say.
    for (const pick of [...own.map((minerId) => ({ minerId, validator: null })), ...picks.flat()])
      if (!byMiner.has(pick.minerId)) byMiner.set(pick.minerId, pick);
    return [...byMiner.values()];
  }

  /** Nobody when it does not answer as it should. */
  private async drawBy(one: Standing, asked: DrawRequest): Promise<Picked[]> {
    const began = this.ports.now();
    const answer = await this.ask(one, 'draw', asked, DRAW_MS);
    const ended = this.ports.now();
    one.lateUntil = Math.max(one.lateUntil, ended + LATE_PAUSE * Math.max(0, ended - began - PROMPT_MS));
    if (!answer) return [];
    const known = new Set(asked.commits.map(({ minerId }) => minerId));
    const minerIds = [...new Set(answer.minerIds)].filter((minerId) => known.has(minerId));
    one.epochs.get(asked.epoch)?.draws.push({ asked, minerIds });
    // Whoever has just drawn by the present secret can tell those of before.
    void this.turn(one, lastOver(asked.version));
    const expected = asked.rates.reduce((sum, rate) => sum + rate, 0);
    return minerIds.slice(0, Math.ceil(MOST_PICKS * expected) + 1).map((minerId) => ({ minerId, validator: one.hotkey }));
  }

  /** What the one who drew it finds; or the server's own where that does not count. Throws when nobody can compute it. */
  async judge(
    pick: Picked,
    run: AuditedRun,
    version: number,
    evidence: Evidence,
    urgent = false,
  ): Promise<{ verdict: AuditVerdict; validator: string | null }> {
    const own = async () => {
      this.audits += 1;
      return { verdict: await this.house.validate(run, evidence, urgent), validator: null };
    };
    const one = pick.validator === null ? undefined : this.standings.get(pick.validator);
    if (!one || !this.isAsked(one)) return own();
    const verdict = await this.judgeBy(one, pick.minerId, version, evidence);
    if (!verdict) return own();
    one.audits += 1;
    // Nobody is punished on the word of one; and who never computes must not get by with "passed".
    if (verdict.outcome === 'passed' && this.ports.random() >= PASSED_CHECKED) return { verdict, validator: one.hotkey };
    const second = await own();
    // By its own numbers alone: what another could not verify, by its word, takes nothing of anybody.
    if (second.verdict.outcome === verdict.outcome) return { ...second, validator: verdict.outcome === 'failed' ? one.hotkey : null };
    // On ill-conditioned inputs honest results differ, and who computes as the miner did sees nothing of it: nobody is in the wrong.
    if ([second.verdict, verdict].some(({ outcome, unverified }) => outcome === 'void' || unverified)) return second;
    const said = `${one.hotkey} found step ${version} of miner ${pick.minerId} ${verdict.outcome}`;
    this.dispute(one, 'VALIDATOR_DISPUTED', `${said}; computed once more, it is ${second.verdict.outcome}: ${second.verdict.finding}`);
    return second;
  }

  private async judgeBy(one: Standing, minerId: string, version: number, evidence: Evidence): Promise<AuditVerdict | null> {
    const { stage, parameterHash } = evidence;
    const id = crypto.randomUUID();
    this.shelf.set(id, evidence);
    const answer = await this.ask(one, 'audit', { id, minerId, stage, version, parameterHash }, AUDIT_MS);
    this.shelf.delete(id);
    return answer?.verdict ?? null;
  }

  /** Evidence under the name that a validator was told. Throws `NOT_FOUND`. */
  evidence(id: string): Evidence {
    const evidence = this.shelf.get(id);
    if (!evidence) throw new SwarmError('NOT_FOUND', 'This evidence is not (any more) to be looked at.');
    return evidence;
  }

  // ── secrets ───────────────────────────────────────────────────────────────────────────────────

  private async commit(one: Standing, epoch: number): Promise<void> {
    if (one.epochs.has(epoch)) return;
    const answer = await this.ask(one, 'commit', { epoch }, SHORT_MS);
    if (answer && !one.epochs.has(epoch)) one.epochs.set(epoch, { hash: answer.secretHash, secret: null, draws: [] });
  }

  /** Asks for the secrets that are due. `over`: the newest of them. */
  private async turn(one: Standing, over: number): Promise<void> {
    for (const [epoch, told] of one.epochs) {
      if (epoch <= over && told.secret === null) await this.reveal(one, epoch, told, over);
      if (epoch < over - SECRETS_TOLD) one.epochs.delete(epoch);
    }
  }

  /** Holds draws against the secret. It may be told all of the next epoch long: a validator may be away for a while. */
  private async reveal(one: Standing, epoch: number, told: Epoch, over: number): Promise<void> {
    const answer = await this.ask(one, 'reveal', { epoch }, SHORT_MS);
    // Each stage's draw asks: one answer is enough.
    if (told.secret !== null || one.epochs.get(epoch) !== told) return;
    if (!answer) {
      if (epoch === over) return;
      one.epochs.delete(epoch);
      if (told.draws.length > 0)
        this.dispute(one, 'SECRET_WITHHELD', `${one.hotkey} drew in epoch ${epoch} and did not tell by which secret.`);
      return;
    }
    told.secret = answer.secret;
    const draws = told.draws.splice(0);
    if ((await secretHash(answer.secret)) !== told.hash) {
      this.dispute(one, 'SECRET_FALSE', `${one.hotkey} told a secret for epoch ${epoch} that it had not committed to.`);
      return;
    }
    for (const { asked, minerIds } of draws) {
      if ((await drawnBy(answer.secret, asked)).join() === minerIds.join()) continue;
      const where = `step ${asked.version} of stage ${asked.stage}`;
      this.dispute(one, 'SECRET_FALSE', `${one.hotkey} picked in ${where} whom its secret does not draw, or left out whom it draws.`);
      return;
    }
  }

  /** Of this step: the hash of the secret that draws, and the newest that will draw no more; first the server's own. */
  async view(version: number): Promise<ValidatorView[]> {
    const epoch = epochOf(version);
    const over = Array.from({ length: Math.max(0, Math.min(lastOver(version) + 1, SECRETS_TOLD)) }, (_, i) => lastOver(version) - i);
    const own: ValidatorView = {
      ...{ hotkey: null, connected: true, backend: this.house.backend, audits: this.audits, disputes: 0, dismissedUntil: null, epoch },
      secretHash: await secretHash(this.house.secretOf(epoch)),
      over: over.map((past) => ({ epoch: past, secret: this.house.secretOf(past) })),
    };
    const others = [...this.standings.values()].map(
      ({ hotkey, backend, juror, audits, disputes, dismissedUntil, epochs }): ValidatorView => ({
        ...{ hotkey, backend, audits, disputes, epoch },
        connected: juror !== null,
        dismissedUntil: dismissedUntil > this.ports.now() ? dismissedUntil : null,
        secretHash: epochs.get(epoch)?.hash ?? null,
        over: over.flatMap((past) => {
          const secret = epochs.get(past)?.secret;
          return secret ? [{ epoch: past, secret }] : [];
        }),
      }),
    );
    return [own, ...others];
  }

  // ── standing ──────────────────────────────────────────────────────────────────────────────────

  private isAsked({ juror, silentUntil, dismissedUntil }: Standing): boolean {
    const now = this.ports.now();
    return juror !== null && silentUntil <= now && dismissedUntil <= now;
  }

  /** Null when it is gone, or silent, which it then is for a while. */
  private async ask<K extends ValidatorRequestName>(
    one: Standing,
    name: K,
    asked: ValidatorRequests[K]['asked'],
    ms: number,
  ): Promise<ValidatorRequests[K]['answered'] | null> {
    const { juror } = one;
    if (!juror) return null;
    try {
      return await juror.ask(name, asked, ms);
    } catch {
      if (one.juror === juror) one.silentUntil = this.ports.now() + SILENT_MS;
      return null;
    }
  }

  private dispute(one: Standing, code: ErrorCode, message: string): void {
    one.disputes += 1;
    if (one.disputes % MOST_DISPUTES === 0) one.dismissedUntil = this.ports.now() + DISMISSED_MS;
    const dismissed = one.dismissedUntil > this.ports.now() ? ' It is not asked for a day.' : '';
    this.ports.tell(code, `Validator ${message}${dismissed}`);
  }
}
