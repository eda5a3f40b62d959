/**
 * Every reason why a miner (or a stage, or the run) has no work, as a closed set: code → what a person can do about it. What happens this time
 * is in the message beside it. Shown word for word, like the hints of errors.
 */
export const REASON_REMEDIES = {
  COMPLETE: 'Nothing to do: the run is finished. The dashboard shows what it has learned.',
  LOADING: 'Nothing to do: the stage is being fetched. A slow connection takes longer.',
  APPLYING: 'Nothing to do: the merged gradient is being applied.',
  MERGING: 'Nothing to do: the next leases come when the stage has merged.',
  STAGE_EMPTY: 'Invite one more miner, or open the page in one more tab: a pipeline needs somebody on every stage.',
  OTHER_STAGES: 'Nothing to do: the step starts when the other stages have finished theirs.',
  UPSTREAM: 'Nothing to do: work arrives from the stage before this one.',
  DOWNSTREAM: 'Nothing to do: gradients come back from the stage after this one.',
  PIPELINE_FULL: 'Nothing to do: as many microbatches are under way as miners may keep; one starts when one is done.',
  OTHER_MINERS: 'Nothing to do: the stage has more miners than work in this step; everybody gets some in the next.',
  IDLE: 'Nothing to do: the next lease comes by itself.',
  FULL: 'Nothing to do: keep the page open; a place is asked for again by itself.',
  BANNED: 'Close other heavy tabs and keep the computer awake; leases are granted again by themselves when the time is over.',
  BANNED_WRONG:
    'Reload the page; if it happens again, this device computes wrongly: press Stop, choose CPU under “Compute on”, and press Start. Leases are granted again by themselves when the time is over.',
  USELESS:
    'If different devices fail alike, the model has diverged or the text is unusable: the operator can go back to an earlier checkpoint, or start again with a smaller --min-microbatches.',
  RESTING: 'Nothing to do: this miner said that it is busy; leases come again after the time it asked for.',
  OFFLINE: 'Nothing to do: the server is tried again by itself, and the miner goes on where it was.',
  DEVICE:
    'Nothing to do: the device is tried again by itself. Browsers keep a GPU that crashed often from a page until it is loaded anew: if it stays away, reload the page, or press Stop, choose Auto or CPU under “Compute on”, and press Start.',
  PAUSED: 'Press Resume when the miner may go on.',
  POLICY: 'Nothing to do: the miner goes on by itself when the settings allow it. They are under Settings.',
  INTENSITY: 'Nothing to do: the miner goes on by itself after its rest. How much it is to compute is under Settings.',
  FINISHING: 'Nothing to do: what is under way is completed, and no more is taken. Stop ends it at once.',
  STORE: 'The operator must free space or bring the database back; nothing is lost meanwhile.',
} as const;

export type ReasonCode = keyof typeof REASON_REMEDIES;

/** Why nothing is to be done at the moment: the code says which, the message what it is this time. */
export interface Reason {
  code: ReasonCode;
  message: string;
}

/** A `Reason` as pages show it. */
export interface Explained extends Reason {
  remedy: string;
}

/** Why somebody waits. Times are Unix ms of the server; `until` is null where nobody knows the end. */
export interface Waiting extends Explained {
  since: number;
  until: number | null;
}

export const explain = (reason: Reason): Explained => ({ ...reason, remedy: REASON_REMEDIES[reason.code] });
