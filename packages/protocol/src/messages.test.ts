import { describe, expect, it } from 'vitest';
import { parseMessage, REQUESTS, type RequestName } from './messages.ts';

const sha = 'a'.repeat(64);
/** One message of each kind that fits. */
const GOOD: Record<RequestName, Record<string, unknown>> = {
  hello: { protocol: 1, name: 'tab', holding: null, backend: 'wasm', adapter: 'CPU' },
  ready: { stage: 0, version: 3, parameterHash: sha },
  receipt: { leaseId: 'a-1', inputHash: sha, outputHash: sha, output: new Uint8Array(4), lossSum: null, computeMs: 1.5 },
  contribution: { stage: 1, version: 3, gradient: sha, microbatches: [18, 19] },
  applied: { stage: 0, version: 4, parameterHash: sha },
  status: { activity: 'waiting', reason: 'stage 1 is merging' },
  leave: { reason: 'stopped' },
};
const names = Object.keys(GOOD) as RequestName[];
const parse = (name: RequestName, message: unknown) => parseMessage(name, REQUESTS[name], message);
const refusal = (field: string) => expect.objectContaining({ code: 'BAD_MESSAGE', message: expect.stringContaining(field) });

describe.each(names)('%s', (name) => {
  it('is taken as it is', () => {
    expect(parse(name, GOOD[name])).toEqual(GOOD[name]);
  });

  it('is refused without any one of its fields, or with another type in it, naming the field', () => {
    for (const field of Object.keys(GOOD[name])) {
      const { [field]: _, ...rest } = GOOD[name];
      if (field !== 'name') expect(() => parse(name, rest), field).toThrow(refusal(field));
      for (const wrong of [{ a: 1 }, true, Symbol('x'), -1, Number.NaN]) {
        if (field === 'lossSum' && typeof wrong === 'number') continue; // any number: the gateway asks whether it is finite
        expect(() => parse(name, { ...GOOD[name], [field]: wrong }), `${field}: ${String(wrong)}`).toThrow(refusal(field));
      }
    }
  });

  it.each([null, undefined, 7, 'text', [], () => {}])('is refused when it is %s', (message) => {
    expect(() => parse(name, message)).toThrow(expect.objectContaining({ code: 'BAD_MESSAGE' }));
  });
});

describe('limits', () => {
  it.each<[string, RequestName, Record<string, unknown>]>([
    ['a name too long', 'hello', { name: 'x'.repeat(41) }],
    ['an adapter too long', 'hello', { adapter: 'x'.repeat(201) }],
    ['an unknown backend', 'hello', { backend: 'cuda' }],
    ['a token too long', 'hello', { session: { minerId: 'm', token: 'x'.repeat(129) } }],
    ['half a holding', 'hello', { holding: { stage: 1 } }],
    ['an empty lease id', 'receipt', { leaseId: '' }],
    ['a lease id too long', 'receipt', { leaseId: 'x'.repeat(65) }],
    ['a hash in capitals', 'receipt', { inputHash: sha.toUpperCase() }],
    ['a hash too short', 'receipt', { outputHash: sha.slice(1) }],
    ['a blob that is no hash', 'receipt', { output: { blob: '../../etc/passwd' } }],
    ['a time before it began', 'receipt', { computeMs: -1 }],
    ['an endless time', 'receipt', { computeMs: Number.POSITIVE_INFINITY }],
    ['half a stage', 'ready', { stage: 0.5 }],
    ['microbatches that are no numbers', 'contribution', { microbatches: ['1'] }],
    ['an unknown activity', 'status', { activity: 'sleeping' }],
    ['a reason too long', 'leave', { reason: 'x'.repeat(201) }],
  ])('%s is refused', (_, name, change) => {
    expect(() => parse(name, { ...GOOD[name], ...change })).toThrow(refusal(Object.keys(change)[0]!));
  });

  it('a payload is bytes or the name of a blob, an ArrayBuffer becoming bytes', () => {
    expect(parse('receipt', { ...GOOD.receipt, output: Uint8Array.of(1, 2).buffer })).toMatchObject({ output: Uint8Array.of(1, 2) });
    expect(parse('receipt', { ...GOOD.receipt, output: { blob: sha } })).toMatchObject({ output: { blob: sha } });
  });

  it('fields nobody knows are dropped, so that a newer miner can say more', () => {
    expect(parse('ready', { ...GOOD.ready, extra: 1 })).toEqual(GOOD.ready);
    expect(Object.keys(parse('leave', JSON.parse('{"reason":"x","__proto__":{"admin":true}}')) as object)).toEqual(['reason']);
  });
});
