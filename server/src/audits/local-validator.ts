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

export class LocalValidator {
  private readonly backend: ReplayBackend;
  private readonly urgent: Job[] = [];
  private readonly others: Job[] = [];
  private thread: ReplayThread | null = null;
  private isWorking = false;
  private isClosed = false;

  constructor(backend: ReplayBackend) {
    this.backend = backend;
  }

  /** `urgent`: before all that waits and is not. Throws what `ReplayThread.audit` throws; the audits that wait behind this one go on. */
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
    return this.urgent.shift() ?? this.others.shift();
  }

  /** A thread in which an audit failed gets no more. */
  private async audit({ run, evidence, resolve, reject }: Job): Promise<void> {
    try {
      if (this.isClosed) throw new SwarmError('BACKEND_FAILED', 'The server is stopping: no more audits are made.');
      this.thread ??= new ReplayThread(this.backend);
      resolve(await this.thread.audit(run, evidence, limitsFor(THRESHOLDS, run)));
    } catch (error) {
      reject(error);
      const { thread } = this;
      this.thread = null;
      await thread?.close();
    }
  }
}
