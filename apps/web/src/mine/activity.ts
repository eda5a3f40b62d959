/** What a miner does, or why it does nothing, in words: the one in this tab, and any other as the server sees it. */
import type { MinerState } from '@starling/miner';
import { type Activity, type MinerView, REASON_REMEDIES, type ReasonCode, type Waiting, type WireError } from '@starling/protocol';
import { compact, lasting, roughly } from '../format.ts';
import { onThisClock } from '../server-clock.ts';

export const ACTIVITY_WORDS: Record<Activity, string> = {
  connecting: 'connecting',
  downloading: 'downloading',
  'warming-up': 'warming up',
  forward: 'forward',
  backward: 'backward',
  evaluate: 'evaluating',
  uploading: 'uploading',
  reducing: 'adding up',
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
  reducing: 'work',
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
  reducing: 'Adding up the gradients of this stage’s miners.',
  applying: 'Applying the merged gradient: the next version of the parameters.',
  waiting: 'No work for this stage at the moment.',
  stopped: 'Nothing is computed and nothing is sent.',
};

/** Waits that are more than waiting for work. */
const WAITS: { [K in ReasonCode]?: { title: string; tone: Tone } } = {
  COMPLETE: { title: 'Finished', tone: 'idle' },
  LOADING: { title: 'Loading', tone: 'busy' },
  APPLYING: { title: 'Applying', tone: 'busy' },
  BANNED: { title: 'Banned', tone: 'bad' },
  RESTING: { title: 'Resting', tone: 'wait' },
  INTENSITY: { title: 'Resting', tone: 'wait' },
  DEVICE: { title: 'Waiting for the device', tone: 'wait' },
  PAUSED: { title: 'Paused', tone: 'idle' },
  POLICY: { title: 'Paused', tone: 'idle' },
  FINISHING: { title: 'Finishing', tone: 'busy' },
};
const WAIT = { title: 'Waiting', tone: 'wait' } as const;

/** Failures that a miner mends by itself while it connects. */
const DELAYS: { [K in WireError['code']]?: string } = {
  BUSY: 'No place yet',
  CONNECTION_LOST: 'No connection',
  CODE_MISSING: 'Not loaded',
};

const KEEP_OPEN = 'Nothing to do: keep this tab open; it may stay in the background.';

/** Between two microbatches a miner always waits a little; that is not worth a word. */
export const SHORT_WAIT_MS = 1500;

export interface Headline {
  tone: Tone;
  title: string;
  sentence: string;
  /** What a person can do about it; null where there is nothing to say. */
  remedy: string | null;
  /** Of the reason or the error, for whoever is asked for help. */
  code: string | null;
  /** Count up from here (Unix ms on this clock); null where the time says nothing. */
  since: number | null;
  /** Count down to here: the end of a ban or a rest, the next try for a place. */
  until: number | null;
}

const plain = (tone: Tone, title: string, sentence: string, since: number | null = null): Headline => ({
  tone,
  title,
  sentence,
  remedy: null,
  code: null,
  since,
  until: null,
});

/** The miner's own reasons are told by this clock, all others by the server's. */
const OWN: ReadonlySet<ReasonCode> = new Set(['PAUSED', 'POLICY', 'INTENSITY', 'FINISHING', 'OFFLINE', 'DEVICE']);
const clockOf = (code: ReasonCode) => (OWN.has(code) ? (time: number) => time : onThisClock);

function waits({ code, message, remedy, since, until }: Waiting, fallbackSince: number): Headline {
  const { title, tone } = WAITS[code] ?? WAIT;
  return {
    tone,
    title,
    sentence: message,
    remedy,
    code,
    since: since > 0 ? clockOf(code)(since) : fallbackSince,
    until: until === null ? null : clockOf(code)(until),
  };
}

/**
 * The calm summary of this tab's miner: it does not flicker between microbatches, as the activity itself does. `hopeless`: why the page
 * cannot mine at all. `isComplete`: there is nothing left to mine.
 */
export function headline(
  state: MinerState | null,
  ending: 'stop' | 'finish' | null,
  now: number,
  hopeless: WireError | null = null,
  isComplete = false,
): Headline {
  if (state === null && hopeless)
    return { ...plain('idle', 'Cannot mine here', hopeless.message), remedy: hopeless.hint, code: hopeless.code };
  if (state === null && isComplete)
    return { ...plain('idle', 'Finished', 'The run has reached its last step.'), remedy: REASON_REMEDIES.COMPLETE, code: 'COMPLETE' };
  if (state === null) return plain('idle', 'Ready', 'Press Start, and this tab holds a part of the model.');
  if (ending === 'stop') return plain('busy', 'Stopping', 'Giving unfinished work back to the swarm.');
  const { activity, reason, since, error, waiting, paused } = state;
  const sentence = reason ?? SENTENCES[activity];
  if (ending === 'finish' && (TONES[activity] === 'work' || activity === 'connecting')) {
    const told: Headline = { ...plain('busy', 'Finishing', sentence), remedy: REASON_REMEDIES.FINISHING, code: 'FINISHING' };
    // It is not waited for ever.
    return activity === 'connecting' && paused ? { ...told, since: paused.since, until: paused.until } : told;
  }
  if (error && isInHeadline(state)) {
    const title = activity === 'stopped' ? 'Stopped' : (DELAYS[error.code] ?? 'Connecting');
    const told = plain(activity === 'stopped' ? 'bad' : 'wait', title, reason ?? error.message, since);
    // The next try is this clock's own.
    return { ...told, remedy: error.hint, code: error.code, until: waiting?.until ?? null };
  }
  if (activity === 'stopped') return plain('idle', 'Stopped', sentence, since);
  // What it is doing then is to keep its stage, or to end what it had begun.
  if (paused && ending === null && TONES[activity] === 'work') return waits(paused, since);
  switch (TONES[activity]) {
    case 'wait': {
      if (waiting && isShortRest(waiting)) return { ...waits(waiting, since), tone: 'work', title: 'Mining', since: null, until: null };
      const settled = now - since >= SHORT_WAIT_MS || state.microbatches === 0 || (waiting && waiting.code in WAITS);
      if (!settled) return { ...plain('work', 'Mining', 'Between two microbatches.'), remedy: KEEP_OPEN };
      return waiting ? waits(waiting, since) : plain('wait', 'Waiting', sentence, since);
    }
    case 'work':
      return { ...plain('work', 'Mining', sentence), remedy: KEEP_OPEN };
    default:
      return plain('busy', capitalised(ACTIVITY_WORDS[activity]), sentence, since);
  }
}

/** Rests as short as that come with every microbatch: a headline that told each would flicker. */
const isShortRest = ({ code, since, until }: Waiting) => code === 'INTENSITY' && until! - since < SHORT_WAIT_MS;

/** The activity whose lamp is lit: the present one, and none in the moments between two microbatches, which the headline calls mining. */
export const lampOf = ({ activity }: MinerState, { tone }: Headline): Activity | null =>
  tone === 'work' && TONES[activity] !== 'work' ? null : activity;

/** The same in a word, for the header and the window's title: the rate only while it works. Null: this tab does not mine. */
export function inShort(head: Headline, state: MinerState | null): { tone: Tone; text: string } | null {
  const { tone, title } = head;
  if (tone === 'idle' && (state === null || state.activity === 'stopped')) return null;
  return { tone, text: tone === 'work' && state ? `${compact(state.tokensPerSecond)} tok/s` : title.toLowerCase() };
}

/** Whether the headline says what the error is; otherwise it needs a notice of its own. */
export const isInHeadline = ({ activity }: MinerState): boolean => activity === 'connecting' || activity === 'stopped';

/** The same of any miner of the run, as the server sees it. */
export function situation(miner: MinerView, now: number): Headline {
  const { activity, reason, waiting, connected, stage } = miner;
  if (!connected && stage === null) {
    return plain('idle', 'Not in the run', 'It left, or was away for too long; what it held went to others. Its receipts are kept.');
  }
  if (!connected) {
    return plain('wait', 'Disconnected', 'Its connection is gone. Its place is kept for some seconds; then its work goes to others.');
  }
  if (waiting && (now - onThisClock(waiting.since) >= SHORT_WAIT_MS || waiting.code in WAITS)) return waits(waiting, now);
  switch (TONES[activity]) {
    case 'wait':
      return plain('work', 'Mining', reason ?? 'Between two microbatches.');
    case 'work':
      return plain('work', 'Mining', reason ?? SENTENCES[activity]);
    default:
      return plain(TONES[activity], capitalised(ACTIVITY_WORDS[activity]), reason ?? SENTENCES[activity]);
  }
}

/** `4 s`, and how long a ban still lasts: `4 s · 11 s left`. */
export function times({ since, until }: Headline, now: number): string {
  if (since === null) return '';
  if (until === null) return lasting(now - since);
  return `${lasting(now - since)} · ${until > now ? `${roughly(until - now)} left` : 'over now'}`;
}

const capitalised = (words: string) => words[0].toUpperCase() + words.slice(1);
