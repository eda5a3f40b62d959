import { describe, expect, it } from 'vitest';
import { COMMANDS, type CommandName, parseMessage, parseRequest, type RequestName } from './messages.ts';
import { PROTOCOL_VERSION } from './version.ts';

const sha = 'a'.repeat(64);
/** One message of each kind that fits. */
const GOOD: Record<RequestName, Record<string, unknown>> = {
  hello: { protocol: PROTOCOL_VERSION, name: 'tab', holding: null, backend: 'wasm', adapter: 'CPU' },
  ready: { stage: 0, round: 7, version: 3, parameterHash: sha },
  receipt: { leaseId: 'a-1', inputHash: sha, outputHash: sha, output: new Uint8Array(4), lossSum: null, computeMs: 1.5 },
  contribution: { stage: 1, version: 3, round: 8, shards: [sha, sha], microbatches: [18, 19] },
  reduced: { stage: 1, version: 3, round: 1, shard: 2, hash: sha },
  busy: { leaseId: 'a-2', pauseMs: 2000 },
  applied: { stage: 0, version: 4, parameterHash: sha },
  status: { activity: 'waiting', reason: 'stage 1 is merging' },
  leave: { reason: 'stopped' },
};
const names = Object.keys(GOOD) as RequestName[];
const parse = (name: RequestName, message: unknown) => parseRequest(name, message);
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

const OPTIMIZER = {
  learningRate: 3e-4,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  biasCorrection1: 0.1,
  biasCorrection2: 0.05,
  gradientScale: 1e-3,
};
const COMMAND: Record<CommandName, Record<string, unknown>> = {
  assign: { stage: 0, round: 7, version: 3, state: { parameters: sha, firstMoment: sha, secondMoment: sha }, inner: null, why: 'joined' },
  lease: {
    id: 'a-1',
    kind: 'backward',
    stage: 1,
    version: 3,
    microbatch: 18,
    round: 7,
    deadlineMs: 90_000,
    input: new Uint8Array(4),
    inputHash: sha,
    outputGradient: { blob: sha },
    targets: null,
    tokens: null,
  },
  cancel: { leaseId: 'a-1' },
  collect: { stage: 1, version: 3, round: 7, microbatches: [18, 19], shards: 6 },
  reduce: { stage: 1, version: 3, round: 1, shard: 2, shards: 6, contributions: [{ hash: sha, scale: 0.5 }] },
  prefetch: { stage: 1, shards: [sha] },
  merge: { stage: 1, version: 4, shards: [sha], update: { kind: 'adamw', ...OPTIMIZER }, parameterHash: sha },
  wait: { code: 'MERGING', message: 'Stage 1 is merging.', remedy: 'Nothing to do.', since: 5, until: null },
};

describe.each(Object.keys(COMMAND) as CommandName[])('the command %s', (name) => {
  const command = (message: unknown) => parseMessage(name, COMMANDS[name], message);

  it('is taken as it is', () => {
    expect(command(COMMAND[name])).toEqual(COMMAND[name]);
  });

  it('is refused without any one of its fields, or with another type in it, naming the field', () => {
    for (const field of Object.keys(COMMAND[name])) {
      const { [field]: _, ...rest } = COMMAND[name];
      expect(() => command(rest), field).toThrow(refusal(field));
      for (const wrong of [{ a: 1 }, true, -1]) {
        expect(() => command({ ...COMMAND[name], [field]: wrong }), `${field}: ${String(wrong)}`).toThrow(refusal(field));
      }
    }
  });
});

describe('fields within fields', () => {
  it.each<[string, () => unknown]>([
    ['session.token', () => parse('hello', { ...GOOD.hello, session: { minerId: 'm' } })],
    ['session.minerId', () => parse('hello', { ...GOOD.hello, session: { minerId: '', token: 't' } })],
    ['holding.version', () => parse('hello', { ...GOOD.hello, holding: { stage: 1, version: -1 } })],
    ['output.blob', () => parse('receipt', { ...GOOD.receipt, output: { blob: sha.slice(1) } })],
    ['microbatches.1', () => parse('contribution', { ...GOOD.contribution, microbatches: [18, 1.5] })],
    [
      'state.secondMoment',
      () => parseMessage('assign', COMMANDS.assign, { ...COMMAND.assign, state: { parameters: sha, firstMoment: sha } }),
    ],
    [
      'update.beta2',
      () => parseMessage('merge', COMMANDS.merge, { ...COMMAND.merge, update: { kind: 'adamw', ...OPTIMIZER, beta2: null } }),
    ],
  ])('a wrong %s is refused by its whole path', (path, parsing) => {
    expect(parsing).toThrow(refusal(`at ${path}:`));
  });
});

describe('a hello', () => {
  it('of another version is refused as that, however its other fields look', () => {
    const unsupported = expect.objectContaining({ code: 'PROTOCOL_UNSUPPORTED', message: expect.stringContaining('7') });
    for (const rest of [GOOD.hello, { backend: 'webnn' }, {}]) {
      expect(() => parse('hello', { ...rest, protocol: 7 })).toThrow(unsupported);
    }
    expect(() => parse('hello', { ...GOOD.hello, protocol: 0 })).toThrow(expect.objectContaining({ code: 'PROTOCOL_UNSUPPORTED' }));
  });

  it('that names no version is refused for that', () => {
    for (const protocol of [undefined, null, '1', 1.5, -1]) {
      expect(() => parse('hello', { ...GOOD.hello, protocol })).toThrow(refusal('at protocol:'));
    }
  });

  it('may bring a session, and a name whose edges are trimmed', () => {
    const session = { minerId: 'm-1', token: 't' };
    expect(parse('hello', { ...GOOD.hello, session, name: `${' '.repeat(50)}tab ` })).toEqual({ ...GOOD.hello, session });
  });
});

describe('a refusal', () => {
  it.each<[RequestName, string]>([
    ['hello', 'protocol'],
    ['hello', 'backend'],
    ['hello', 'adapter'],
    ['hello', 'session'],
    ['ready', 'stage'],
    ['ready', 'parameterHash'],
    ['receipt', 'output'],
    ['receipt', 'leaseId'],
    ['contribution', 'microbatches'],
    ['status', 'activity'],
    ['leave', 'reason'],
  ])('of a %s whose %s is a megabyte of text says so in a line', (name, field) => {
    let message = '';
    try {
      parse(name, { ...GOOD[name], [field]: 'x'.repeat(2 ** 20) });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toContain(`\`${name}\` does not fit the protocol at ${field}: `);
    expect(message.length).toBeLessThan(400);
  });

  it('comes at the first field that does not fit, and looks at none behind it', () => {
    const microbatches: unknown[] = [18, 'x'];
    Object.defineProperty(microbatches, 2, {
      enumerable: true,
      get: () => {
        throw new Error('looked at');
      },
    });
    expect(() => parse('contribution', { ...GOOD.contribution, microbatches })).toThrow(refusal('at microbatches.1:'));
  });

  it('says what a payload may be', () => {
    expect(() => parse('receipt', { ...GOOD.receipt, output: [1, 2] })).toThrow(refusal('at output: neither bytes nor `{ blob }`'));
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
    ['more microbatches than a step has', 'contribution', { microbatches: new Array(65_537).fill(1) }],
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
