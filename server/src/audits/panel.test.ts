/** Several validators: one that is down, silent, lazy or lying changes nothing for miners, and is found. */
import { type AuditedRun, type Evidence, secretHash } from '@starling/audit';
import type { AuditVerdict, DrawRequest, LeaseCounts, ValidatorRequestName, ValidatorRequests } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { drawnBy, type Juror, Panel } from './panel.ts';

const verdict = (outcome: AuditVerdict['outcome']): AuditVerdict => ({
  outcome,
  finding: `It ${outcome}.`,
  checks: [],
  compared: 1,
  computeMs: 1,
});
const RUN = {} as AuditedRun;
const EVIDENCE = { stage: 0, parameterHash: '', leases: [], gradient: null } as unknown as Evidence;
const MINERS = Array.from({ length: 40 }, (_, i) => `m-${i}`);

/** Answers as a validator should, but for what is given. */
function jurorOf(hotkey: string, how: Partial<{ [K in ValidatorRequestName]: (asked: ValidatorRequests[K]['asked']) => unknown }> = {}) {
  const secretOf = (epoch: number) => `${hotkey} ${epoch}`.padEnd(64, '0');
  const honest = {
    commit: async ({ epoch }: { epoch: number }) => ({ secretHash: await secretHash(secretOf(epoch)) }),
    draw: async (asked: DrawRequest) => ({ minerIds: await drawnBy(secretOf(asked.epoch), asked) }),
    audit: async () => ({ verdict: verdict('passed') }),
    reveal: async ({ epoch }: { epoch: number }) => ({ secret: secretOf(epoch) }),
  };
  const asked: ValidatorRequestName[] = [];
  const juror: Juror = {
    ...{ hotkey, backend: 'wasm' },
    ask: async (name, what) => {
      asked.push(name);
      return ({ ...honest, ...how }[name] as (asked: unknown) => Promise<never>)(what);
    },
  };
  return { juror, asked };
}

function panelOf({
  honest = 'passed',
  random = 0.5,
  unverified,
}: {
  honest?: AuditVerdict['outcome'];
  random?: number;
  unverified?: LeaseCounts;
} = {}) {
  const told: string[] = [];
  const clock = { now: 1_000_000 };
  const chance = { next: random };
  const panel = new Panel(
    {
      backend: 'wasm',
      secretOf: (epoch) => `house ${epoch}`,
      validate: async () => ({ ...verdict(honest), ...(unverified && { unverified }) }),
    },
    { now: () => clock.now, random: () => chance.next, tell: (code, message) => told.push(`${code} ${message}`) },
  );
  const request = (version: number, rate: number): DrawRequest => ({
    ...{ stage: 0, version, epoch: Math.floor(version / 30) },
    commits: MINERS.map((minerId) => ({ minerId, hash: 'a'.repeat(64) })),
    rates: MINERS.map(() => rate),
  });
  return { panel, told, clock, chance, request };
}
/** What a panel asks by the way is answered at once. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('the panel', () => {
  it('has the server’s own draw at the full rate, and audit whom it drew, whatever others say', async () => {
    const never = () => Promise.reject(new Error('silent'));
    const all = async () => ({ minerIds: MINERS });
    const none = async () => ({ minerIds: [] });
    for (const draws of [[], [never], [none, none], [all, none, never, all, all, all, all]]) {
      const { panel, request } = panelOf();
      for (const [i, draw] of draws.entries()) panel.join(jurorOf(`v${i}`, { draw }).juror, 0);
      await settled();
      for (let version = 0; version < 30; version++) {
        const asked = request(version, 0.2);
        const picks = await panel.draw(asked);
        const own = await drawnBy('house 0', asked);
        // The server's own come first, and nobody is audited twice.
        const first = picks.slice(0, own.length);
        expect(first.map(({ minerId }) => minerId).sort()).toEqual(own.toSorted());
        expect(first.every(({ validator }) => validator === null)).toBe(true);
        expect(picks.slice(own.length).every(({ validator }) => validator !== null)).toBe(true);
        expect(new Set(picks.map(({ minerId }) => minerId)).size).toBe(picks.length);
      }
    }
  });

  it('has others draw as much again, together', async () => {
    const { panel, request } = panelOf();
    for (let i = 0; i < 3; i++) panel.join(jurorOf(`v${i}`).juror, 0);
    await settled();
    const others: string[] = [];
    for (let version = 0; version < 30; version++)
      for (const { validator } of await panel.draw(request(version, 0.2))) if (validator !== null) others.push(validator);
    // Of 1,200 miners the server's own spares 960, whom three draw with 1/15 each: 179, and 36 are three standard deviations.
    expect(Math.abs(others.length - 179)).toBeLessThan(36);
    expect(new Set(others).size).toBe(3);
  });

  it('ignores picks that no rate explains', async () => {
    const { panel, request } = panelOf();
    panel.join(jurorOf('greedy', { draw: async () => ({ minerIds: [...MINERS, ...MINERS] }) }).juror, 0);
    panel.join(jurorOf('other').juror, 0);
    await settled();
    const asked = request(0, 0.04);
    const own = await drawnBy('house 0', asked);
    const greedy = (await panel.draw(asked)).filter(({ validator }) => validator === 'greedy').map(({ minerId }) => minerId);
    // 40 miners at 0.02 are 0.8 picks.
    expect(greedy).toEqual(MINERS.slice(0, Math.ceil(4 * 0.8) + 1).filter((minerId) => !own.includes(minerId)));
  });

  it('does not ask one that is silent again for a while', async () => {
    const { panel, request, clock } = panelOf();
    const { juror, asked } = jurorOf('v', { draw: () => Promise.reject(new Error('silent')) });
    panel.join(juror, 0);
    await settled();
    const draws = () => asked.filter((name) => name === 'draw').length;
    await panel.draw(request(0, 0.5));
    await panel.draw(request(1, 0.5));
    expect(draws()).toBe(1);
    clock.now += 60_001;
    await panel.draw(request(2, 0.5));
    expect(draws()).toBe(2);
  });

  it('does not have merges wait for one that is late time and again', async () => {
    const { panel, request, clock } = panelOf();
    let lateness = 900;
    const draw = async () => {
      clock.now += lateness;
      return { minerIds: [] };
    };
    const { juror, asked } = jurorOf('late', { draw });
    panel.join(juror, 0);
    await settled();
    const draws = () => asked.filter((name) => name === 'draw').length;
    const began = clock.now;
    for (let version = 0; version < 25; version++) {
      clock.now += 2_000;
      await panel.draw(request(version, 0.1));
    }
    const waited = clock.now - began - 25 * 2_000;
    expect([draws(), waited], '19.5 s must pass after each').toEqual([3, 2_700]);
    // Who answers in time is asked for every step.
    clock.now += 60_000;
    lateness = 250;
    for (let version = 0; version < 5; version++) await panel.draw(request(version, 0.1));
    expect(draws()).toBe(8);
  });

  it('has nobody punished on the word of one, and dismisses who is wrong three times', async () => {
    const { panel, told, clock } = panelOf();
    panel.join(jurorOf('liar', { audit: async () => ({ verdict: verdict('failed') }) }).juror, 0);
    const pick = { minerId: 'm-1', validator: 'liar' };
    for (let i = 0; i < 3; i++)
      expect(await panel.judge(pick, RUN, 0, EVIDENCE)).toMatchObject({ verdict: { outcome: 'passed' }, validator: null });
    expect(told).toHaveLength(3);
    expect(told[2]).toMatch(
      /^VALIDATOR_DISPUTED Validator liar found step 0 of miner m-1 failed; computed once more, it is passed.*not asked for a day/,
    );
    const [, liar] = await panel.view(0);
    expect(liar).toMatchObject({ hotkey: 'liar', audits: 3, disputes: 3, dismissedUntil: clock.now + 86_400_000 });
  });

  it('finds one that says “passed” without looking', async () => {
    const { panel, told, chance } = panelOf({ honest: 'failed', random: 0.9 });
    panel.join(jurorOf('lazy').juror, 0);
    const pick = { minerId: 'm-1', validator: 'lazy' };
    expect(await panel.judge(pick, RUN, 0, EVIDENCE)).toMatchObject({ verdict: { outcome: 'passed' }, validator: 'lazy' });
    chance.next = 0.1;
    expect(await panel.judge(pick, RUN, 0, EVIDENCE)).toMatchObject({ verdict: { outcome: 'failed' }, validator: null });
    expect(told).toHaveLength(1);
  });

  it('bears out a verdict that is right, and does by itself what one leaves undone', async () => {
    const { panel, told } = panelOf({ honest: 'failed' });
    panel.join(jurorOf('right', { audit: async () => ({ verdict: verdict('failed') }) }).juror, 0);
    expect(await panel.judge({ minerId: 'm-1', validator: 'right' }, RUN, 0, EVIDENCE)).toMatchObject({ validator: 'right' });
    panel.join(jurorOf('down', { audit: () => Promise.reject(new Error('gone')) }).juror, 0);
    expect(await panel.judge({ minerId: 'm-1', validator: 'down' }, RUN, 0, EVIDENCE)).toMatchObject({ validator: null });
    expect(await panel.judge({ minerId: 'm-1', validator: 'never here' }, RUN, 0, EVIDENCE)).toMatchObject({ validator: null });
    expect(told).toEqual([]);
  });

  it.each([
    ['passed', 'void'],
    ['void', 'passed'],
    ['void', 'failed'],
  ] as const)(
    'disputes nobody who found %s what is %s to itself: honest validators differ on ill-conditioned inputs',
    async (said, honest) => {
      const { panel, told } = panelOf({ honest, random: 0.1 });
      panel.join(jurorOf('other', { audit: async () => ({ verdict: verdict(said) }) }).juror, 0);
      const judged = await panel.judge({ minerId: 'm-1', validator: 'other' }, RUN, 0, EVIDENCE);
      expect(judged).toMatchObject({ verdict: { outcome: honest }, validator: null });
      expect(told).toEqual([]);
    },
  );

  it('leaves it to chance, anew in every step, who comes last', async () => {
    const { panel, request } = panelOf();
    const [one, other] = [await panel.draw(request(3, 1)), await panel.draw(request(4, 1))].map((picks) =>
      picks.map(({ minerId }) => minerId),
    );
    expect(one!.toSorted()).toEqual(MINERS.toSorted());
    expect(one).not.toEqual(other);
  });

  it('disputes nobody over what honest validators see otherwise in a part of it', async () => {
    const unverified = { backward: 1 };
    const { panel, told } = panelOf({ honest: 'passed', unverified });
    panel.join(jurorOf('other', { audit: async () => ({ verdict: verdict('failed') }) }).juror, 0);
    const judged = await panel.judge({ minerId: 'm-1', validator: 'other' }, RUN, 0, EVIDENCE);
    expect(judged).toMatchObject({ verdict: { outcome: 'passed', unverified }, validator: null });
    expect(told).toEqual([]);
  });

  it('takes another’s word neither for what could not be verified nor for its numbers', async () => {
    const { panel } = panelOf({ honest: 'passed', random: 0 });
    const doubtful = { ...verdict('passed'), unverified: { backward: 3 } };
    panel.join(jurorOf('other', { audit: async () => ({ verdict: doubtful }) }).juror, 0);
    const judged = await panel.judge({ minerId: 'm-1', validator: 'other' }, RUN, 0, EVIDENCE);
    expect(judged).toEqual({ verdict: verdict('passed'), validator: null });
  });

  it('holds draws against the secret that is told afterwards', async () => {
    const { panel, told, request } = panelOf();
    panel.join(jurorOf('fair').juror, 0);
    panel.join(jurorOf('picker', { draw: async () => ({ minerIds: ['m-7'] }) }).juror, 0);
    panel.join(jurorOf('forgetful', { reveal: async () => ({ secret: 'f'.repeat(64) }) }).juror, 0);
    await settled();
    for (const version of [3, 29]) await panel.draw(request(version, 0.3));
    // With overlap step 29 may be drawn after step 30 has begun: its secret is not asked for before step 31.
    await panel.draw(request(30, 0));
    await settled();
    expect(told).toEqual([]);
    await panel.draw(request(31, 0));
    await expect.poll(() => told.length).toBe(2);
    expect(told.sort()).toEqual([
      expect.stringMatching(/^SECRET_FALSE Validator forgetful told a secret for epoch 0/),
      expect.stringMatching(/^SECRET_FALSE Validator picker picked in step 3 of stage 0/),
    ]);
    const [, fair] = await panel.view(31);
    expect(fair!.over).toEqual([{ epoch: 0, secret: 'fair 0'.padEnd(64, '0') }]);
  });

  it('disputes whoever drew and does not tell by what, once an epoch, but leaves it time', async () => {
    const { panel, told, request, clock } = panelOf();
    let away = true;
    const secret = (hotkey: string, epoch: number) => ({ secret: `${hotkey} ${epoch}`.padEnd(64, '0') });
    const withheld = () => Promise.reject(new Error('silent'));
    panel.join(jurorOf('mute', { reveal: withheld }).juror, 0);
    panel.join(jurorOf('late', { reveal: async ({ epoch }) => (away ? withheld() : secret('late', epoch)) }).juror, 0);
    await settled();
    const drawAt = async (version: number) => {
      clock.now += 120_000; // who was silent is asked again
      await panel.draw(request(version, 0.3));
      await settled();
    };
    for (const version of [0, 31, 60]) await drawAt(version);
    expect(told).toEqual([]);
    away = false;
    for (const version of [61, 62]) await drawAt(version);
    await expect.poll(() => told).toEqual([expect.stringMatching(/^SECRET_WITHHELD Validator mute drew in epoch 0 and did not tell/)]);
    for (const version of [91, 121]) await drawAt(version);
    await expect.poll(() => told.length).toBe(3);
    expect(told[2]).toMatch(/^SECRET_WITHHELD Validator mute drew in epoch 2 .*not asked for a day/);
    const [, mute, late] = await panel.view(121);
    expect(mute).toMatchObject({ disputes: 3, dismissedUntil: clock.now + 86_400_000 });
    expect(late).toMatchObject({ disputes: 0, over: [3, 2, 1, 0].map((epoch) => ({ epoch, ...secret('late', epoch) })) });
  });

  it('keeps what is disputed although the connection is a new one meanwhile', async () => {
    const { panel, told } = panelOf();
    const answer = Promise.withResolvers<void>();
    const liar = { audit: () => answer.promise.then(() => ({ verdict: verdict('failed') })) };
    panel.join(jurorOf('liar', liar).juror, 0);
    const judged = panel.judge({ minerId: 'm-1', validator: 'liar' }, RUN, 0, EVIDENCE);
    panel.join(jurorOf('liar').juror, 0);
    answer.resolve();
    await judged;
    expect(told).toHaveLength(1);
    expect((await panel.view(0))[1]).toMatchObject({ hotkey: 'liar', disputes: 1 });
  });

  it('forgets one whose connection ends, but not what became of it', async () => {
    const { panel, request } = panelOf();
    const leave = panel.join(jurorOf('v').juror, 0);
    await settled();
    leave();
    expect((await panel.draw(request(0, 1))).every(({ validator }) => validator === null)).toBe(true);
    expect((await panel.view(0))[1]).toMatchObject({ hotkey: 'v', connected: false });
  });
});
