/** A miner's state in words. */
import type { MinerState } from '@starling/miner';
import type { Activity } from '@starling/protocol';

export const ACTIVITY_WORDS: Record<Activity, string> = {
  connecting: 'connecting',
  downloading: 'downloading',
  'warming-up': 'warming up',
  forward: 'forward',
  backward: 'backward',
  evaluate: 'evaluating',
  uploading: 'uploading',
  applying: 'applying',
  waiting: 'waiting',
  stopped: 'stopped',
};

export type Tone = 'idle' | 'busy' | 'work' | 'wait' | 'bad';

export const TONES: Record<Activity, Tone> = {
  connecting: 'busy',
  downloading: 'busy',
  'warming-up': 'busy',
  forward: 'work',
  backward: 'work',
  evaluate: 'work',
  uploading: 'work',
  applying: 'work',
  waiting: 'wait',
  stopped: 'idle',
};

/** What each activity means, for when the miner gives no reason of its own. */
const SENTENCES: Record<Activity, string> = {
  connecting: 'Reaching the server.',
  downloading: 'Fetching the parameters of this stage.',
  'warming-up': 'Compiling the kernels for this device.',
  forward: 'Running a microbatch through the layers held here.',
  backward: 'Computing the gradient of a microbatch.',
  evaluate: 'Measuring the loss on text the model does not train on.',
  uploading: 'Sending this step’s gradient to be merged.',
  applying: 'Applying the merged gradient: the next version of the parameters.',
  waiting: 'No work for this stage at the moment.',
  stopped: 'Nothing is computed and nothing is sent.',
};

/** Between two microbatches a miner always waits a little; that is not worth a word. */
export const SHORT_WAIT_MS = 1500;

export interface Headline {
  tone: Tone;
  title: string;
  sentence: string;
  /** Count up from here; null where the time says nothing. */
  since: number | null;
}

/** The calm summary: it does not flicker between microbatches, as the activity itself does. */
export function headline(state: MinerState | null, stopping: boolean, now: number): Headline {
  if (state === null)
    return { tone: 'idle', title: 'Ready', sentence: 'Press Start, and this tab holds a part of the model.', since: null };
  if (stopping) return { tone: 'busy', title: 'Stopping', sentence: 'Giving unfinished work back to the swarm.', since: null };
  const { activity, reason, since, error } = state;
  const sentence = reason ?? SENTENCES[activity];
  if (activity === 'stopped') {
    return error
      ? { tone: 'bad', title: 'Stopped by a failure', sentence: 'What went wrong, and what helps, stands below. Start tries again.', since }
      : { tone: 'idle', title: 'Stopped', sentence, since };
  }
  const settled = now - since >= SHORT_WAIT_MS || state.microbatches === 0;
  switch (TONES[activity]) {
    case 'wait':
      return settled
        ? { tone: 'wait', title: 'Waiting', sentence, since }
        : { tone: 'work', title: 'Mining', sentence: 'Between two microbatches.', since: null };
    case 'work':
      return { tone: 'work', title: 'Mining', sentence, since: null };
    default:
      return { tone: 'busy', title: capitalised(ACTIVITY_WORDS[activity]), sentence, since };
  }
}

const capitalised = (words: string) => words[0].toUpperCase() + words.slice(1);
