/** Names of those who keep blobs (blobs.ts). What belongs to a merge is told by them. */

/** The contributions of a stage that are not merged yet, and what reducers made of them. */
export const gradientOwner = (stage: number, version: number) => `gradients ${stage}@${version}`;
/** The gradient that made a version. */
export const mergeOwner = (stage: number, version: number) => `merge ${stage}@${version}`;
/** A stage's parameters and moments, for who begins with them. */
export const stateOwner = (stage: number, version: number) => `stage ${stage}@${version}`;

/** Whose merge an owner's blobs are for; null: for none. */
export function mergingStage(owner: string): number | null {
  const stage = /^(?:gradients|merge) (\d+)@/.exec(owner)?.[1];
  return stage === undefined ? null : Number(stage);
}
