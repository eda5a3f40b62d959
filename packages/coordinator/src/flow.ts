/**
 * A microbatch on its way through the stages: forwards up, backwards down. A *cell* is one stage's part of it.
 * The last stage has no forward of its own: its backward takes the input and returns loss and input gradient.
 */

export type TaskState = 'blocked' | 'ready' | 'leased' | 'done';

export type Slot = 'forward' | 'backward';

export interface Task {
  state: TaskState;
  /** The lease that runs it, or the one whose receipt was accepted. */
  leaseId: string | null;
  /** Who runs it or ran it. */
  minerId: string | null;
  /** Who was late with it: somebody else gets it next, while there is anybody else. */
  avoid: string | null;
}

export interface Cell {
  forward: Task | null;
  backward: Task | null;
  /** The miner that still has the stage input from its forward: its backward needs no input sent. */
  holder: string | null;
  /** The gradient of this cell is part of an accepted contribution. */
  contributed: boolean;
}

export interface Flow {
  step: number;
  purpose: 'train' | 'validate';
  /** Training: number of the microbatch in the whole run (the data cursor). Validation: number in the held-out sample. */
  microbatch: number;
  cells: Cell[];
  lossSum: number | null;
}

const blocked = (): Task => ({ state: 'blocked', leaseId: null, minerId: null, avoid: null });

export function newFlow(step: number, purpose: Flow['purpose'], microbatch: number, stages: number): Flow {
  const cells = Array.from({ length: stages }, (_, stage): Cell => {
    const last = stage === stages - 1;
    return {
      forward: purpose === 'validate' || !last ? blocked() : null,
      backward: purpose === 'train' ? blocked() : null,
      holder: null,
      contributed: false,
    };
  });
  return { step, purpose, microbatch, cells, lossSum: null };
}

/** The cell's task; it must have one of that kind. */
export function taskOf(flow: Flow, stage: number, slot: Slot): Task {
  return flow.cells[stage]![slot]!;
}

/** Where the flow goes after `stage` finished `slot`; null at the end of the way. */
export function nextTask(flow: Flow, stage: number, slot: Slot): { stage: number; slot: Slot } | null {
  if (slot === 'backward') return stage > 0 ? { stage: stage - 1, slot } : null;
  const above = flow.cells[stage + 1];
  return above ? { stage: stage + 1, slot: above.forward ? 'forward' : 'backward' } : null;
}
