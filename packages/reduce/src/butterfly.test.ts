/** The state machine by hand, input by input: deadlines, refusals, restarts. What holds for whole merges is in properties.test.ts. */
import { describe, expect, it } from 'vitest';
import { Butterfly } from './butterfly.ts';
import { seedsOf } from './collecting.ts';
import { pairsOf } from './shards.ts';
import type { ButterflyConfig, ButterflyEffect, ButterflyInput } from './types.ts';

const hash = (text: string) => Buffer.from(text.padEnd(32, '.')).toString('hex');
const TRUE = hash('true');
const FALSE = hash('false');
const MISSING = { code: 'CONTRIBUTION_MISSING' };

class Hand {
  machine: Butterfly;
  now = 1_000_000;
  log: ButterflyEffect[] = [];

  constructor(members: number, more: Partial<ButterflyConfig> = {}) {
    const config: ButterflyConfig = {
      ...{ stage: 0, version: 3, parameters: 256 * 40, codec: 'int8', merged: 'bf16', clip: null, spotCheck: 0, excludeLiars: true },
      ...{
        redraws: 4,
        shards: pairsOf(members),
        members: Array.from({ length: members }, (_, i) => ({ id: 'abcdefgh'[i]!, tokens: 10 * (i + 1) })),
      },
      deadlines: { commit: 1_000, upload: 2_000, reduce: 3_000 },
      ...more,
    };
    this.machine = Butterfly.begin(config, this.now);
  }

  give(input: ButterflyInput): ButterflyEffect[] {
    const effects = this.machine.handle(input, this.now);
    this.log.push(...effects);
    return effects;
  }

  wait(ms: number): ButterflyEffect[] {
    this.now += ms;
    return this.give({ type: 'tick' });
  }

  get ids(): string[] {
    return this.machine.view.members.map(({ id }) => id);
  }

  get shards(): number {
    return this.machine.view.shards.length;
  }

  hashes = (id: string) => Array.from({ length: this.shards }, (_, shard) => hash(`${id} ${shard}`));

  commit(...ids: string[]): void {
    for (const memberId of ids) this.give({ type: 'commit', memberId, hashes: this.hashes(memberId) });
  }

  async seed(): Promise<void> {
    const draw = this.log.findLast((effect) => effect.type === 'draw')!;
    this.give({ type: 'seed', ...(await seedsOf(draw.over, 'secret')) });
  }

  upload(memberId: string, squares = 1): void {
    this.hashes(memberId).forEach((hash, shard) => {
      this.give({ type: 'upload', memberId, shard, hash, squares });
    });
  }

  /** As far as the reductions. */
  static async reducing(members: number, more: Partial<ButterflyConfig> = {}): Promise<Hand> {
    const hand = new Hand(members, more);
    hand.commit(...hand.ids);
    await hand.seed();
    for (const id of hand.ids) hand.upload(id);
    return hand;
  }

  result(memberId: string, shard: number, value = TRUE): ButterflyEffect[] {
    return this.give({ type: 'result', memberId, round: this.machine.view.round, shard, hash: value });
  }

  recomputed(shard: number, value = TRUE): ButterflyEffect[] {
    return this.give({ type: 'recomputed', round: this.machine.view.round, shard, hash: value });
  }

  /** Everybody awaited answers truly. */
  finish(): void {
    for (let shard = 0; shard < this.shards; shard++) for (const id of this.asked(shard)) this.result(id, shard);
  }

  asked(shard: number): string[] {
    const { members, shards } = this.machine.view;
    return shards[shard]!.votes.filter(({ deadline }) => deadline !== null).map(({ member }) => members[member]!.id);
  }
}

const types = (effects: ButterflyEffect[]) => effects.map(({ type }) => type);
const refused = (code: string) => [expect.objectContaining({ type: 'refuse', code })];

describe('commits', () => {
  it('are closed when all are in, or at the deadline without those who are late', () => {
    const all = new Hand(3);
    all.commit('a', 'b');
    expect(all.machine.phase).toBe('committing');
    all.commit('c');
    expect(types(all.log)).toEqual(['draw']);
    const late = new Hand(3);
    late.commit('a', 'c');
    expect(late.wait(999)).toEqual([]);
    expect(late.wait(1)).toMatchObject([{ type: 'excluded', memberId: 'b', ...MISSING }, { type: 'draw' }]);
    expect(late.give({ type: 'commit', memberId: 'b', hashes: late.hashes('b') })).toEqual(refused('MERGE_UNEXPECTED'));
  });

  it('that are malformed, a second one, or of a stranger are refused', () => {
    const hand = new Hand(2);
    expect(hand.give({ type: 'commit', memberId: 'a', hashes: [] })).toEqual(refused('SHARD_MALFORMED'));
    expect(hand.give({ type: 'commit', memberId: 'a', hashes: ['zz'] })).toEqual(refused('SHARD_MALFORMED'));
    expect(hand.give({ type: 'commit', memberId: 'x', hashes: hand.hashes('x') })).toEqual(refused('MERGE_UNEXPECTED'));
    hand.commit('a');
    expect(hand.give({ type: 'commit', memberId: 'a', hashes: hand.hashes('b') })).toEqual(refused('MERGE_UNEXPECTED'));
    expect(hand.machine.view.members[0]!.commit).toEqual(hand.hashes('a'));
  });

  it('fix the seed: another commit gives other pairs, and nobody can change it afterwards', async () => {
    const seeds = (over: string) => seedsOf(over, 'secret');
    const one = new Hand(5);
    one.commit(...one.ids);
    const [draw] = one.log as [Extract<ButterflyEffect, { type: 'draw' }>];
    expect(await seeds(draw.over)).toEqual(await seeds(draw.over));
    expect((await seedsOf(draw.over, 'another')).seed).toBe((await seeds(draw.over)).seed);
    expect((await seedsOf(draw.over, 'another')).secretSeed).not.toBe((await seeds(draw.over)).secretSeed);
    one.give({ type: 'left', memberId: 'c' });
    expect(one.give({ type: 'restart' })).toEqual([draw]);
    const other = new Hand(5);
    other.commit('a', 'b', 'c', 'd');
    other.give({ type: 'commit', memberId: 'e', hashes: other.hashes('e').toReversed() });
    const [next] = other.log as [Extract<ButterflyEffect, { type: 'draw' }>];
    expect((await seeds(next.over)).seed).not.toBe((await seeds(draw.over)).seed);
  });

  it('of nobody end the merge', () => {
    const hand = new Hand(2);
    expect(hand.wait(1_000).at(-1)).toMatchObject({ type: 'failed', code: 'MERGE_EMPTY' });
    expect(hand.machine.phase).toBe('failed');
    const gone = new Hand(2);
    gone.commit('a', 'b');
    for (const memberId of ['a', 'b']) gone.give({ type: 'left', memberId });
    expect(gone.machine.phase).toBe('failed');
  });
});

describe('uploads', () => {
  async function uploading(members = 3): Promise<Hand> {
    const hand = new Hand(members);
    hand.commit(...hand.ids);
    await hand.seed();
    return hand;
  }

  it('are asked for when the pairs are drawn, and must be the bytes committed', async () => {
    const hand = await uploading();
    expect(hand.log.slice(1)).toEqual(['a', 'b', 'c'].map((memberId) => ({ type: 'upload', memberId, shards: [0, 1, 2] })));
    const upload = { type: 'upload', memberId: 'a', shard: 0, hash: hash('a 0'), squares: 4 } as const;
    expect(hand.give({ ...upload, hash: hash('a 1') })).toEqual(refused('SHARD_MISMATCH'));
    expect(hand.give({ ...upload, shard: 3 })).toEqual(refused('MERGE_UNEXPECTED'));
    expect(hand.give({ ...upload, squares: Number.NaN })).toEqual(refused('TENSOR_NOT_FINITE'));
    expect(hand.give(upload)).toEqual([]);
    expect(hand.give(upload)).toEqual(refused('MERGE_UNEXPECTED'));
  });

  it('that are not whole at the deadline leave their gradient out, and its tokens', async () => {
    const hand = await uploading();
    hand.upload('a');
    hand.upload('c');
    hand.give({ type: 'upload', memberId: 'b', shard: 0, hash: hash('b 0'), squares: 1 });
    expect(types(hand.wait(1_999))).toEqual([]);
    const effects = hand.wait(1);
    expect(effects[0]).toMatchObject({ type: 'excluded', memberId: 'b', ...MISSING });
    hand.finish();
    expect(hand.log.at(-1)).toMatchObject({ type: 'merged', contributors: ['a', 'c'], tokens: 40 });
  });

  it('that are useless leave it out at once, with their code', async () => {
    const hand = await uploading();
    const effects = hand.give({ type: 'spoiled', memberId: 'b', shard: 1, hash: hash('b 1'), code: 'TENSOR_NOT_FINITE', message: 'NaN.' });
    expect(effects).toEqual([{ type: 'excluded', memberId: 'b', code: 'TENSOR_NOT_FINITE', message: 'NaN.' }]);
    hand.upload('a');
    hand.upload('c');
    expect(hand.machine.phase).toBe('reducing');
  });

  it('that were whole before their member left count, and others reduce for it', async () => {
    const hand = await uploading();
    hand.upload('b');
    hand.give({ type: 'left', memberId: 'b' });
    hand.upload('a');
    hand.upload('c');
    expect([0, 1, 2].map((shard) => hand.asked(shard).toSorted())).toEqual([0, 1, 2].map(() => ['a', 'c']));
    hand.finish();
    expect(hand.log.at(-1)).toMatchObject({ type: 'merged', contributors: ['a', 'b', 'c'], tokens: 60 });
  });

  it('give the norms that clip: per token, of the whole gradient', async () => {
    const hand = new Hand(3, { clip: 1 });
    hand.commit(...hand.ids);
    await hand.seed();
    hand.upload('a', 100); // √300 / 10
    hand.upload('b', 100); // √300 / 20
    hand.upload('c', 400); // √1200 / 30
    const tasks = hand.log.filter((effect) => effect.type === 'reduce');
    expect(tasks).toHaveLength(6);
    for (const { shard, contributions } of tasks) {
      expect(contributions.map(({ memberId, hash }) => [memberId, hash])).toEqual(hand.ids.map((id) => [id, hash(`${id} ${shard}`)]));
      expect(contributions.map(({ scale }) => scale)).toEqual([2 / 3, 1, 1].map((x) => expect.closeTo(x, 12)));
    }
  });
});

describe('reductions', () => {
  it('of a lone member are computed again by the orchestrator, who is the other half of the pair', async () => {
    const hand = await Hand.reducing(1);
    expect(hand.asked(0)).toEqual(['a']);
    expect(hand.result('a', 0)).toMatchObject([{ type: 'recompute', why: 'lost', shard: 0 }]);
    expect(hand.recomputed(0)).toMatchObject([{ type: 'merged', hashes: [TRUE], contributors: ['a'], tokens: 10 }]);
  });

  it('of two are one shard, reduced by both', async () => {
    const hand = await Hand.reducing(2);
    expect(hand.asked(0).toSorted()).toEqual(['a', 'b']);
    hand.result('a', 0);
    expect(hand.result('b', 0)).toMatchObject([{ type: 'merged', hashes: [TRUE] }]);
    expect(hand.machine.agreement).toEqual([{ pair: ['a', 'b'], compared: 1, agreed: 1, disagreed: 0 }]);
  });

  it('are given to a third when a reducer leaves or says nothing in time', async () => {
    const hand = await Hand.reducing(4);
    const [first, second] = hand.asked(0) as [string, string];
    const effects = hand.give({ type: 'left', memberId: first });
    expect(effects.filter((effect) => effect.type === 'reduce' && effect.shard === 0)).toHaveLength(1);
    expect(hand.asked(0)).not.toContain(first);
    for (let shard = 0; shard < hand.shards; shard++) for (const id of hand.asked(shard)) if (id !== second) hand.result(id, shard);
    expect(hand.wait(2_999)).toEqual([]);
    const drawn = hand.wait(1);
    expect(new Set(types(drawn))).toEqual(new Set(['reduce']));
    for (const { memberId } of drawn.filter((effect) => effect.type === 'reduce')) expect([first, second]).not.toContain(memberId);
    expect(hand.machine.view.members.find(({ id }) => id === second)!.silent).toBe(true);
    hand.finish();
    expect(hand.log.at(-1)).toMatchObject({ type: 'merged', contributors: hand.ids });
    expect(types(hand.log)).not.toContain('recompute');
  });

  it('that come late count while their shard is open, and make their member one to be asked again', async () => {
    const hand = await Hand.reducing(3);
    const [slow] = hand.asked(0) as [string];
    for (let shard = 0; shard < hand.shards; shard++) for (const id of hand.asked(shard)) if (id !== slow) hand.result(id, shard);
    hand.wait(3_000);
    expect(hand.result(slow, 0)).toEqual([]);
    expect(hand.machine.view.shards[0]!.settled).toBe(TRUE);
    expect(hand.machine.view.members.find(({ id }) => id === slow)!.silent).toBe(false);
  });

  it('that come after their shard is settled are refused: nothing rests on them', async () => {
    const hand = await Hand.reducing(3);
    const [slow] = hand.asked(0) as [string];
    for (let shard = 0; shard < hand.shards; shard++) for (const id of hand.asked(shard)) if (id !== slow) hand.result(id, shard);
    hand.wait(3_000);
    for (const id of hand.asked(0)) hand.result(id, 0);
    expect(hand.machine.view.shards[0]!.settled).toBe(TRUE);
    expect(hand.result(slow, 0)).toEqual(refused('MERGE_UNEXPECTED'));
  });

  it('go to the orchestrator when both reducers vanish and nobody is left, or after so many redraws', async () => {
    const two = await Hand.reducing(2);
    for (const id of ['a', 'b']) two.give({ type: 'left', memberId: id });
    expect(two.log.at(-1)).toMatchObject({ type: 'recompute', why: 'lost', shard: 0 });
    const none = await Hand.reducing(5, { redraws: 0 });
    const [one, other] = none.asked(0) as [string, string];
    expect(none.give({ type: 'left', memberId: one })).toEqual([]);
    expect(none.result(other, 0)).toMatchObject([{ type: 'recompute', why: 'lost', shard: 0 }]);
  });

  it('that disagree are recomputed; the liar is named, left out, and the merge begins again without it', async () => {
    const hand = await Hand.reducing(3);
    const [liar, honest] = hand.asked(0) as [string, string];
    hand.result(liar, 0, FALSE);
    expect(hand.result(honest, 0)).toMatchObject([{ type: 'recompute', why: 'disagreement', shard: 0, round: 1 }]);
    const effects = hand.recomputed(0);
    expect(effects.slice(0, 2)).toMatchObject([
      { type: 'liar', memberId: liar, shard: 0, claimed: FALSE, truth: TRUE },
      { type: 'excluded', memberId: liar, code: 'REDUCTION_FALSE' },
    ]);
    expect(hand.machine.view.round).toBe(2);
    expect(hand.asked(0).toSorted()).toEqual(hand.ids.filter((id) => id !== liar));
    // What belongs to the first round is void, also the truth of it.
    expect(hand.give({ type: 'result', memberId: honest, round: 1, shard: 1, hash: TRUE })).toEqual(refused('MERGE_UNEXPECTED'));
    expect(hand.give({ type: 'recomputed', round: 1, shard: 1, hash: TRUE })).toEqual([]);
    expect(hand.result(liar, 1)).toEqual(refused('MERGE_UNEXPECTED'));
    hand.finish();
    expect(hand.log.at(-1)).toMatchObject({ type: 'merged', contributors: hand.ids.filter((id) => id !== liar) });
  });

  it('of a liar whose gradient stays are all looked at again: a partner may have lied with it', async () => {
    const hand = await Hand.reducing(3, { excludeLiars: false });
    const shardOf = (a: string, b: string) => [0, 1, 2].find((shard) => [a, b].every((id) => hand.asked(shard).includes(id)))!;
    const [ab, ac] = [shardOf('a', 'b'), shardOf('a', 'c')];
    hand.result('a', ab, FALSE);
    hand.result('b', ab, FALSE);
    expect(hand.machine.view.shards[ab]!.settled).toBe(FALSE);
    hand.result('a', ac, FALSE);
    hand.result('c', ac);
    const effects = hand.recomputed(ac);
    expect(effects).toMatchObject([
      { type: 'liar', memberId: 'a' },
      { type: 'spotCheck', shard: ab },
    ]);
    expect(hand.recomputed(ab).filter(({ type }) => type === 'liar')).toMatchObject([{ memberId: 'a' }, { memberId: 'b' }]);
    hand.finish();
    // Two liars of three: the last shard had both of them or one with c.
    for (const shard of [0, 1, 2]) if (hand.machine.view.shards[shard]!.recomputing) hand.recomputed(shard);
    expect(hand.log.at(-1)).toMatchObject({ type: 'merged', hashes: [TRUE, TRUE, TRUE], contributors: ['a', 'b', 'c'] });
  });

  it('begin again when an audit finds a gradient false, also one whose member is gone', async () => {
    const hand = await Hand.reducing(3);
    hand.give({ type: 'left', memberId: 'b' });
    const effects = hand.give({ type: 'exclude', memberId: 'b', message: 'It is not what its microbatches give.' });
    expect(effects[0]).toMatchObject({ type: 'excluded', memberId: 'b', code: 'GRADIENT_FALSE' });
    hand.finish();
    expect(hand.log.at(-1)).toMatchObject({ type: 'merged', contributors: ['a', 'c'], tokens: 40 });
    expect(hand.give({ type: 'exclude', memberId: 'a', message: 'Too late.' })).toEqual(refused('MERGE_UNEXPECTED'));
  });

  it('that agree are checked with the probability given, and nothing is settled before', async () => {
    const hand = await Hand.reducing(2, { spotCheck: 1 });
    hand.result('a', 0, FALSE);
    expect(hand.result('b', 0, FALSE)).toMatchObject([{ type: 'spotCheck', shard: 0 }]);
    const effects = hand.recomputed(0);
    expect(types(effects)).toEqual(['liar', 'liar', 'excluded', 'excluded', 'failed']);
    expect(hand.machine.agreement).toEqual([{ pair: ['a', 'b'], compared: 1, agreed: 1, disagreed: 0 }]);
  });
});

describe('a restart', () => {
  it('asks again for everything that is awaited, with all its time', async () => {
    const hand = await Hand.reducing(3);
    const before = hand.log.filter(({ type }) => type === 'reduce');
    hand.now += 2_900;
    hand.machine = Butterfly.restore(JSON.parse(JSON.stringify(hand.machine.snapshot())));
    expect(hand.give({ type: 'restart' })).toEqual(before);
    expect(hand.wait(2_999)).toEqual([]);
    hand.result(hand.asked(0)[0]!, 0, FALSE);
    const recompute = hand.result(hand.asked(0)[0]!, 0);
    expect(hand.give({ type: 'restart' })).toContainEqual(recompute[0]);
    hand.recomputed(0);
    hand.finish();
    const last = hand.log.at(-1)!;
    expect(last.type).toBe('merged');
    expect(hand.give({ type: 'restart' })).toEqual([last]);
  });

  it('gives those who have not committed or uploaded their time again', async () => {
    const hand = new Hand(2);
    hand.commit('a');
    hand.now += 5_000;
    expect(hand.give({ type: 'restart' })).toEqual([]);
    expect(hand.wait(999)).toEqual([]);
    hand.commit('b');
    await hand.seed();
    hand.upload('a');
    hand.now += 5_000;
    expect(hand.give({ type: 'restart' })).toEqual([{ type: 'upload', memberId: 'b', shards: [0] }]);
    expect(hand.wait(1_999)).toEqual([]);
  });
});

it('means are weighed by their tokens, sums are not', async () => {
  const scales = async (means: boolean) => {
    const { log } = await Hand.reducing(3, { means });
    return log.find((effect) => effect.type === 'reduce')!.contributions.map(({ scale }) => scale);
  };
  expect(await scales(false)).toEqual([1, 1, 1]);
  // 10, 20 and 30 tokens.
  expect(await scales(true)).toEqual([10 / 60, 20 / 60, 30 / 60]);
});

it('members of a merge are at least one, differ, and cover tokens', () => {
  const begin = (members: ButterflyConfig['members']) => () => new Hand(1, { members });
  for (const members of [
    [],
    [{ id: 'a', tokens: 0 }],
    [
      { id: 'a', tokens: 1 },
      { id: 'a', tokens: 1 },
    ],
  ]) {
    expect(begin(members)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  }
});
