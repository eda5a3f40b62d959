/** Who computes audits: a thread of this process, one after the other. */
import { type AuditedRun, type Evidence, limitsFor, THRESHOLDS } from '@starling/audit';
import { type ReplayBackend, ReplayThread } from '@starling/audit/node';
import { type AuditVerdict, SwarmError } from '@starling/protocol';

interface Job {
  run: AuditedRun;
  evidence: Evidence;
  resolve(verdict: AuditVerdict): void;
  reject(error: unknown): void;
}

/** However much of it is urgent, of so many audits one is not: else, where validators are too slow, no newcomer would ever pass. */
const IN_TURN = 4;
/** A replay that takes so long does not end: a driver hangs. */
const LIMIT_MS = 600_000;

export class LocalValidator {
  private readonly backend: ReplayBackend;
  private turn = 0;
  private readonly urgent: Job[] = [];
  private readonly others: Job[] = [];
  private thread: ReplayThread | null = null;
  private isWorking = false;
  private isClosed = false;

  constructor(backend: ReplayBackend) {
    this.backend = backend;
  }

  /**
   * `urgent`: before what waits and is not, three times in four. Throws what `ReplayThread.audit` throws, and `BACKEND_FAILED` after ten minutes;
   * the audits that wait behind this one go on.
   */
  validate(run: AuditedRun, evidence: Evidence, urgent = false): Promise<AuditVerdict> {
    const { promise, resolve, reject } = Promise.withResolvers<AuditVerdict>();
    (urgent ? this.urgent : this.others).push({ run, evidence, resolve, reject });
    void this.work();
    return promise;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.thread?.close();
  }

  private async work(): Promise<void> {
    if (this.isWorking) return;
    this.isWorking = true;
    for (let job = this.next(); job; job = this.next()) await this.audit(job);
    this.isWorking = false;
  }

  private next(): Job | undefined {
    const isOthers = this.turn++ % IN_TURN === IN_TURN - 1;
    return isOthers ? (this.others.shift() ?? this.urgent.shift()) : (this.urgent.shift() ?? this.others.shift());
  }

  /** A thread in which an audit failed gets no more. */
  private async audit({ run, evidence, resolve, reject }: Job): Promise<void> {
    try {
      if (this.isClosed) throw new SwarmError('BACKEND_FAILED', 'The server is stopping: no more audits are made.');
      this.thread ??= new ReplayThread(this.backend);
      resolve(await withinLimit(this.thread.audit(run, evidence, limitsFor(THRESHOLDS, run))));
    } catch (error) {
      reject(error);
      const { thread } = this;
      this.thread = null;
      await thread?.close();
    }
  }
}

function withinLimit<T>(audit: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const fault = () => reject(new SwarmError('BACKEND_FAILED', `An audit was not done after ${LIMIT_MS / 60_000} minutes.`));
    timer = setTimeout(fault, LIMIT_MS);
  });
  return Promise.race([audit, late]).finally(() => clearTimeout(timer));
}
