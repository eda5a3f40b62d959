/**
 * What a server and a validator of its own hotkey say to each other, on namespace `/validate`. Once it is let in, the validator is
 * asked and answers (Socket.IO acknowledgements); it asks nothing. Docs: docs/verification.md, Several validators.
 */
import * as v from 'valibot';
import { AuditVerdict } from './audit.ts';

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const hex32 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'not 32 bytes in hex'));
const name = v.pipe(v.string(), v.minLength(1), v.maxLength(100));

/**
 * `origin`: of the address the validator connected to, as `URL.origin`. `signature`: sr25519 by the hotkey over `validatorText`, 128 hex
 * digits.
 */
export const ValidatorHello = v.object({
  protocol: count,
  hotkey: name,
  origin: v.pipe(v.string(), v.minLength(1), v.maxLength(300)),
  nonce: name,
  signature: v.pipe(v.string(), v.regex(/^[0-9a-f]{128}$/, 'not 64 bytes in hex')),
  /** How it computes audits again. */
  backend: name,
});
export type ValidatorHello = v.InferOutput<typeof ValidatorHello>;

/**
 * What a validator's hotkey signs, as UTF-8, to be let in. It names where the validator itself connected to, not what the other end calls
 * itself: passed on to another server, it lets nobody in.
 */
export const validatorText = (origin: string, nonce: string): string =>
  ['Starling: this is a validator. It moves no funds.', `origin: ${origin}`, `nonce: ${nonce}`].join('\n');

/** Everybody has said all of a step: who is to be audited? `rates`: each miner's chance, in the order of `commits`. */
export const DrawRequest = v.object({
  stage: count,
  version: count,
  /** Whose secret draws. */
  epoch: count,
  commits: v.array(v.object({ minerId: name, hash: hex32 })),
  rates: v.array(v.pipe(v.number(), v.minValue(0), v.maxValue(1))),
});
export type DrawRequest = v.InferOutput<typeof DrawRequest>;

/** Evidence is at `/v1/validators/evidence/:id`, parameters at `/v1/validators/parameters/:id`. */
export const AuditRequest = v.object({ id: name, minerId: name, stage: count, version: count, parameterHash: hex32 });
export type AuditRequest = v.InferOutput<typeof AuditRequest>;

/** Request → what is asked, and what is answered. */
export const VALIDATOR_REQUESTS = {
  /** The hash of the secret of an epoch that has not begun. */
  commit: { asked: v.object({ epoch: count }), answered: v.object({ secretHash: hex32 }) },
  draw: { asked: DrawRequest, answered: v.object({ minerIds: v.array(name) }) },
  audit: { asked: AuditRequest, answered: v.object({ verdict: AuditVerdict }) },
  /** The secret of an epoch that is over. */
  reveal: { asked: v.object({ epoch: count }), answered: v.object({ secret: hex32 }) },
};
export type ValidatorRequests = {
  [K in keyof typeof VALIDATOR_REQUESTS]: {
    asked: v.InferOutput<(typeof VALIDATOR_REQUESTS)[K]['asked']>;
    answered: v.InferOutput<(typeof VALIDATOR_REQUESTS)[K]['answered']>;
  };
};
export type ValidatorRequestName = keyof ValidatorRequests;

/** A validator as pages see it. */
export interface ValidatorView {
  /** SS58; null: the server's own, which has a hotkey only if the chain is to be told its weights. */
  hotkey: string | null;
  connected: boolean;
  backend: string;
  /** Audits done, and verdicts that computing once more did not bear out. */
  audits: number;
  disputes: number;
  /** Unix ms until which its verdicts are not asked for; null: they are. */
  dismissedUntil: number | null;
  /** Hash of the secret that draws now, and the newest secrets that will draw no more. */
  epoch: number;
  secretHash: string | null;
  over: { epoch: number; secret: string }[];
}
