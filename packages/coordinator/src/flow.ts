/**
 * A microbatch on its way through the stages: forwards up, backwards down. A *cell* is one stage's part of it.
 * The last stage has no forward of its own: its backward takes the input and returns loss and input gradient.
 */

/** `dropped`: left out of the step. */
export type TaskState = 'blocked' | 'ready' | 'leased' | 'done' | 'dropped';

export type Slot = 'forward' | 'backward';

export interface Task {
  state: TaskState;
  /** Open leases that compute it: more than one when it is hedged. */
  open: string[];
  /** Whose receipt counted. */
  minerId: string | null;
  /** Who was late with it: somebody else gets it next, while there is anybody else. */
  avoid: string | null;
  /** Whose results of it were useless, in order. */
  forfeits: string[];
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
  /** Place among the flows of its step. */
  index: number;
  purpose: 'train' | 'validate';
  /** Training: number of the microbatch in the whole run (the data cursor). Validation: number in the held-out sample. */
  microbatch: number;
  cells: Cell[];
  lossSum: number | null;
  /** Nothing more of it is granted. */
  abandoned: boolean;
  /** Its first lease was granted. */
  started: boolean;
  /** It has come all the way back, or was abandoned. */
  finished: boolean;
}

const blocked = (): Task => ({ state: 'blocked', open: [], minerId: null, avoid: null, forfeits: [] });

export function newFlow(step: number, index: number, purpose: Flow['purpose'], microbatch: number, stages: number): Flow {
  const cells = Array.from({ length: stages }, (_, stage): Cell => {
    const last = stage === stages - 1;
    return {
      forward: purpose === 'validate' || !last ? blocked() : null,
      backward: purpose === 'train' ? blocked() : null,
      holder: null,
      contributed: false,
    };
  });
  return { step, index, purpose, microbatch, cells, lossSum: null, abandoned: false, started: false, finished: false };
}

/** All of a step, in its order: training first, each by number. */
export function newFlows(step: number, train: number, validate: number, stages: number): Flow[] {
  return Array.from({ length: train + validate }, (_, index) => flowAt(step, index, train, stages));
}

/** `train`: training microbatches of a step. */
export function flowAt(step: number, index: number, train: number, stages: number): Flow {
  return index < train
    ? newFlow(step, index, 'train', step * train + index, stages)
    : newFlow(step, index, 'validate', index - train, stages);
}

export const isSettled = (task: Task) => task.state === 'done' || task.state === 'dropped';

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
