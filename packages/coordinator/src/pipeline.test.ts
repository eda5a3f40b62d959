/** What flows through the stages: pinned backwards, bounds, and progress without a barrier. */
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import type { Flow } from './flow.ts';
import { grants, of, Swarm } from './for-tests.ts';
import { pipelineLimit } from './granting.ts';

const { keptInputs, leasesPerMiner } = LIMITS;
const at = (stage: number) => (_: string, lease: { stage: number }) => lease.stage === stage;
const forwards =
  (id: string) =>
  (minerId: string, { kind }: { kind: string }) =>
    minerId === id && kind === 'forward';

describe('a backward', () => {
  it('goes to the miner that keeps its input, without the input', () => {
    // Two on stage 0; b holds stage 1.
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 4 });
    swarm.compute(at(0));
    const effects = swarm.compute((id) => id === 'b');
    const back = grants(effects).filter(({ lease }) => lease.kind === 'backward' && lease.stage === 0);
    expect(back.length).toBe(4);
    for (const { minerId, lease } of back) {
      expect(lease.sendInput).toBe(false);
      const forward = grants(swarm.log).find((grant) => grant.lease.kind === 'forward' && grant.lease.microbatch === lease.microbatch)!;
      expect(minerId).toBe(forward.minerId);
    }
    expect(swarm.counters.recomputed).toBe(0);
  });

  it('waits for that miner while it has its hands full, although another is idle', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 4 });
    // c does nothing, so that a keeps what it can.
    swarm.compute(forwards('a'));
    expect([swarm.miner('a').kept, swarm.miner('c').leases.size]).toEqual([2, 2]);
    swarm.busy('c', swarm.leasesOf('c')[0]!.id, 1);
    expect(swarm.miner('a').leases.size).toBe(1);
    swarm.compute((id) => id === 'b');
    expect([swarm.miner('a').leases.size, swarm.coordinator.state.steps.get(0)!.pinned.get('a')?.length]).toEqual([2, 1]);
    const ready = ({ cells }: Flow) => Number(cells[0]!.forward!.state === 'ready') + Number(cells[0]!.backward!.state === 'ready');
    const { flows } = swarm.coordinator.state.steps.get(0)!;
    expect(swarm.coordinator.queueOf(0), 'it is in the queue').toBe(flows.reduce((sum, flow) => sum + ready(flow), 0));
    swarm.tick(1);
    const next = grants(swarm.receipt('a', swarm.leasesOf('a')[0]!.id)).filter(({ lease }) => lease.stage === 0);
    expect(next).toMatchObject([{ minerId: 'a', lease: { kind: 'backward', sendInput: false } }]);
  });

  it.each([
    ['goes', (swarm: Swarm) => swarm.leave('a')],
    ['loses its connection', (swarm: Swarm) => swarm.disconnect('a')],
    ['asks for a rest', (swarm: Swarm) => swarm.busy('a', null, 9_000)],
    ['starts anew', (swarm: Swarm) => swarm.join('a')],
  ])('goes to another, with its input, when its miner %s', (_, happens) => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 1 });
    swarm.compute(forwards('a'));
    const [top] = swarm.leasesOf('b');
    happens(swarm);
    const [back] = grants(swarm.receipt('b', top!.id));
    expect(back).toMatchObject({ minerId: 'c', lease: { kind: 'backward', stage: 0, sendInput: true } });
    expect(swarm.counters.recomputed).toBe(1);
  });

  it('that waits already goes to another when its miner cannot do it any more', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 6 });
    swarm.compute(forwards('a'));
    swarm.compute((id) => id === 'b');
    swarm.compute((id, { kind }) => id === 'c' && kind === 'forward');
    const pinned = swarm.coordinator.state.steps.get(0)!.pinned.get('a')?.length ?? 0;
    expect(pinned).toBeGreaterThan(0);
    const effects = [...swarm.disconnect('a'), ...swarm.compute((id) => id === 'c')];
    const taken = grants(effects).filter(({ lease }) => lease.kind === 'backward' && lease.stage === 0 && lease.sendInput);
    expect(taken.length).toBe(pinned);
    expect(swarm.counters.recomputed).toBe(pinned);
  });

  it('goes back to the miner that keeps its input when that one is there again and nobody else took it', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 1 });
    swarm.compute(forwards('a'));
    swarm.disconnect('a');
    swarm.compute((id) => id === 'b');
    const [back] = grants(swarm.resume('a'));
    expect(back).toMatchObject({ minerId: 'a', lease: { kind: 'backward', sendInput: false } });
  });
});

describe('a miner', () => {
  it('keeps no more inputs than it may, and goes on when the first backward frees one', () => {
    // Two on stage 0, of whom c does nothing; nobody computes at stage 1.
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 60 });
    swarm.compute(forwards('a'));
    // It had two leases when the last but one of its places was taken.
    expect(swarm.miner('a').kept).toBe(keptInputs + leasesPerMiner - 1);
    expect(swarm.miner('a').leases.size).toBe(0);
    for (let i = 0; i < 2; i++) swarm.receipt('b', swarm.leasesOf('b')[0]!.id);
    const begun: number[] = [];
    while (begun.length === 0) {
      const [back] = swarm.leasesOf('a');
      expect(back).toMatchObject({ kind: 'backward', sendInput: false });
      const next = grants(swarm.receipt('a', back!.id)).find(({ minerId, lease }) => minerId === 'a' && lease.kind === 'forward');
      if (next) begun.push(swarm.miner('a').kept);
    }
    expect(begun).toEqual([keptInputs - 1]);
  });

  it('is not counted on for more inputs, although it sends receipts for many leases that it had given back', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 60 });
    const given: string[] = [];
    for (let lease = swarm.leasesOf('a')[0]; lease; lease = swarm.leasesOf('a')[0]) {
      given.push(lease.id);
      swarm.busy('a', lease.id, 0);
      swarm.tick(LIMITS.shortestRest);
    }
    expect(given.length).toBeGreaterThan(keptInputs + leasesPerMiner);
    for (const id of given) expect(of(swarm.receipt('a', id), 'settled')).toMatchObject([{ outcome: 'counted' }]);
    expect(swarm.miner('a').kept).toBe(keptInputs);
    swarm.reach(1);
  });

  it('keeps nothing of what validates', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 1, validationMicrobatches: 30 });
    swarm.compute(at(0));
    expect(swarm.miner('a').kept).toBe(1);
  });
});

describe('the microbatches under way', () => {
  it('are no more than the narrowest stage can keep the inputs of, and one begins when one is done', () => {
    // Stage 0 has two miners, stage 1 has one: sixteen.
    const swarm = Swarm.ready(['a', 'b', 'c', 'd'], { stages: 3, microbatchesPerStep: 40 });
    expect(swarm.crews.map((crew) => crew.length)).toEqual([2, 1, 1]);
    swarm.compute(at(0));
    const { state } = swarm.coordinator;
    expect(state.steps.get(0)!.underWay).toBe(keptInputs);
    expect(swarm.coordinator.view()[0]!.reason!.code).toBe('PIPELINE_FULL');
    swarm.compute((_, { stage }) => stage > 0);
    expect(state.steps.get(0)!.underWay).toBe(keptInputs);
    // Backwards first; then there is room for the next.
    const begun: number[] = [];
    while (begun.length === 0) {
      const home = ['a', 'd'].find((id) => swarm.leasesOf(id).length > 0)!;
      const effects = grants(swarm.receipt(home, swarm.leasesOf(home)[0]!.id));
      begun.push(...effects.filter(({ lease }) => lease.kind === 'forward').map(({ lease }) => lease.microbatch));
      expect(state.steps.get(0)!.underWay).toBeLessThanOrEqual(keptInputs);
    }
    expect(begun[0]).toBe(keptInputs);
  });

  it('are more when a miner joins the narrowest stage, at once', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 40 });
    swarm.compute(at(0));
    expect(swarm.coordinator.state.steps.get(0)!.underWay).toBe(keptInputs);
    swarm.join('c');
    expect(swarm.coordinator.miner('c')!.stage).toBe(0);
    // There is room now for as many again, and c takes the first as soon as it is ready.
    expect(grants(swarm.load('c')).length).toBe(leasesPerMiner);
    swarm.compute(at(0));
    expect(swarm.coordinator.state.steps.get(0)!.underWay).toBe(2 * keptInputs);
  });

  it('are one for every stage at least', () => {
    const stages = keptInputs + 4;
    const ids = Array.from({ length: stages }, (_, i) => `m${i}`);
    const swarm = Swarm.ready(ids, { stages, microbatchesPerStep: 40 });
    expect(pipelineLimit(swarm.coordinator.state)).toBe(stages);
    swarm.reach(1);
  });
});

describe('the stages', () => {
  it('go on without each other: the last is a step ahead while the first still computes', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 2 });
    swarm.compute(forwards('a'));
    swarm.compute((id) => id === 'b');
    swarm.contribute('b');
    swarm.merge(1);
    swarm.apply('b');
    expect(swarm.stages.map((stage) => stage.version)).toEqual([0, 1]);
    expect(swarm.coordinator.view()[1]!.reason).toMatchObject({ code: 'OTHER_STAGES' });
    expect(swarm.leasesOf('a').map(({ kind, version }) => [kind, version])).toEqual([
      ['backward', 0],
      ['backward', 0],
    ]);
    expect(of(swarm.log, 'closed')).toEqual([]);
    swarm.reach(1);
    expect(of(swarm.log, 'closed')).toMatchObject([{ step: 0 }]);
  });

  it('go on without each other: the first begins the next step while the last still merges', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 2 });
    swarm.compute();
    swarm.contribute('a');
    swarm.merge(0);
    const effects = swarm.apply('a');
    expect(swarm.stages.map(({ version, phase }) => [version, phase])).toEqual([
      [1, 'training'],
      [0, 'merging'],
    ]);
    expect(grants(effects)).toMatchObject([{ lease: { version: 1, microbatch: 2 } }, { lease: { version: 1, microbatch: 3 } }]);
    // Its forwards are done before the last stage can take them, and wait for it.
    swarm.compute(at(0));
    expect(of(swarm.log, 'closed')).toEqual([]);
    swarm.contribute('b');
    expect(of(swarm.merge(1), 'closed')).toMatchObject([{ step: 0 }]);
    expect(grants(swarm.apply('b'))).toMatchObject([{ lease: { version: 1, stage: 1 } }, { lease: { version: 1, stage: 1 } }]);
    swarm.reach(2);
  });

  it('are never two steps apart: a step needs every stage at its version', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 3, microbatchesPerStep: 2 });
    swarm.compute();
    for (const [id, stage] of [
      ['a', 0],
      ['c', 2],
    ] as const) {
      swarm.contribute(id);
      swarm.merge(stage);
      swarm.apply(id);
    }
    swarm.compute();
    // Stage 1 has not merged: stage 0 waits for it with the next step begun, stage 2 with nothing to do.
    expect(swarm.stages.map((stage) => stage.version)).toEqual([1, 0, 1]);
    expect(swarm.coordinator.state.steps.size).toBe(2);
    expect(swarm.leasesOf('c')).toEqual([]);
    swarm.reach(3);
    expect(of(swarm.log, 'closed').map(({ step }) => step)).toEqual([0, 1, 2]);
  });

  it('count every microbatch of the run once, in the order of the data', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 3 }).reach(4);
    for (const stage of [0, 1]) {
      const merged = swarm.begun(swarm.log).filter((reduce) => reduce.stage === stage);
      expect(merged.map(({ contributions }) => contributions.flatMap(({ microbatches }) => microbatches).sort((a, b) => a - b))).toEqual(
        [0, 1, 2, 3].map((step) => [3 * step, 3 * step + 1, 3 * step + 2]),
      );
    }
  });

  it('give up tensors of a step when they have merged it', () => {
    const swarm = Swarm.ready(['a', 'b']).reach(2);
    expect(
      of(swarm.log, 'release')
        .map(({ stage, version }) => `${stage}@${version}`)
        .sort(),
    ).toEqual(['0@0', '0@1', '1@0', '1@1']);
  });
});
