/** Who computes audits: a thread of this process. One in which an audit fails gets no more, and ends when those it has are done. */
import { type AuditedRun, type Evidence, limitsFor, THRESHOLDS } from '@starling/audit';
import { type ReplayBackend, ReplayThread } from '@starling/audit/node';
import type { AuditVerdict } from '@starling/protocol';

interface Running {
  thread: ReplayThread;
  /** Audits it has. */
  waiting: number;
}

export class LocalValidator {
  private readonly backend: ReplayBackend;
  private readonly running = new Set<Running>();
  /** The one that takes the next. */
  private newest: Running | null = null;

  constructor(backend: ReplayBackend) {
    this.backend = backend;
  }

  /** Throws what `ReplayThread.audit` throws; the audits that wait behind this one go on. */
  async validate(run: AuditedRun, evidence: Evidence): Promise<AuditVerdict> {
    this.newest ??= { thread: new ReplayThread(this.backend), waiting: 0 };
    const one = this.newest;
    this.running.add(one);
    one.waiting += 1;
    try {
      return await one.thread.audit(run, evidence, limitsFor(THRESHOLDS, run));
    } catch (error) {
      if (this.newest === one) this.newest = null;
      throw error;
    } finally {
      one.waiting -= 1;
      if (this.newest !== one && one.waiting === 0) {
        this.running.delete(one);
        await one.thread.close();
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.running].map(({ thread }) => thread.close()));
  }
}
