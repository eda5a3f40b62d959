/** Who computes audits: threads of this process, each one after the other. */
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
  /** Those that have nothing to do; null: not started. */
  private readonly idle: (ReplayThread | null)[];
  private readonly busy = new Set<ReplayThread>();
  private isClosed = false;

  constructor(backend: ReplayBackend, threads = 1) {
    this.backend = backend;
    this.idle = Array.from({ length: threads }, () => null);
  }

  /**
   * `urgent`: before what waits and is not, three times in four. Throws what `ReplayThread.audit` throws, and `BACKEND_FAILED` after ten minutes;
   * the audits that wait behind this one go on.
   */
  validate(run: AuditedRun, evidence: Evidence, urgent = false): Promise<AuditVerdict> {
    const { promise, resolve, reject } = Promise.withResolvers<AuditVerdict>();
    (urgent ? this.urgent : this.others).push({ run, evidence, resolve, reject });
    this.work();
    return promise;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await Promise.all([...this.busy, ...this.idle].map((thread) => thread?.close()));
  }

  private work(): void {
    while (this.idle.length > 0) {
      const job = this.next();
      if (!job) return;
      // One that runs already first: starting one takes a while.
      const at = Math.max(
        0,
        this.idle.findIndex((thread) => thread !== null),
      );
      const [thread = null] = this.idle.splice(at, 1);
      void this.audit(job, thread).then((kept) => {
        this.idle.push(kept);
        this.work();
      });
    }
  }

  private next(): Job | undefined {
    const isOthers = this.turn++ % IN_TURN === IN_TURN - 1;
    return isOthers ? (this.others.shift() ?? this.urgent.shift()) : (this.urgent.shift() ?? this.others.shift());
  }

  /** Returns the thread; null when the audit failed: then it gets no more. */
  private async audit({ run, evidence, resolve, reject }: Job, idle: ReplayThread | null): Promise<ReplayThread | null> {
    let thread = idle;
    try {
      if (this.isClosed) throw new SwarmError('BACKEND_FAILED', 'The server is stopping: no more audits are made.');
      thread ??= new ReplayThread(this.backend);
      this.busy.add(thread);
      resolve(await withinLimit(thread.audit(run, evidence, limitsFor(THRESHOLDS, run))));
      return thread;
    } catch (error) {
      reject(error);
      await thread?.close();
      return null;
    } finally {
      if (thread) this.busy.delete(thread);
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
