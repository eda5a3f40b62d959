/** Who computes audits: a thread of this process. One that fails is replaced; audits that it had are lost, and said so. */
import { type AuditedRun, type Evidence, limitsFor, THRESHOLDS } from '@starling/audit';
import { type ReplayBackend, ReplayThread } from '@starling/audit/node';
import type { AuditVerdict } from '@starling/protocol';

export class LocalValidator {
  private readonly backend: ReplayBackend;
  private thread: ReplayThread | null = null;

  constructor(backend: ReplayBackend) {
    this.backend = backend;
  }

  /** Throws what `ReplayThread.audit` throws. */
  async validate(run: AuditedRun, evidence: Evidence): Promise<AuditVerdict> {
    const thread = this.thread ?? new ReplayThread(this.backend);
    this.thread = thread;
    try {
      return await thread.audit(run, evidence, limitsFor(THRESHOLDS, run));
    } catch (error) {
      if (this.thread === thread) this.thread = null;
      await thread.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.thread?.close();
  }
}
