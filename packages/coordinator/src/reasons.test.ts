/** Nobody waits without a reason. */
import type { ReasonCode } from '@starling/protocol';
import { describe, expect, it } from 'vitest';
import { LIMITS } from './constants.ts';
import { of, Swarm } from './for-tests.ts';

/** Why each miner without a lease waits, as told at this tick. */
const waits = (swarm: Swarm) => Object.fromEntries(of(swarm.tick(), 'wait').map(({ minerId, reason }) => [minerId, reason]));
const codeOf = (swarm: Swarm) => Object.fromEntries(Object.entries(waits(swarm)).map(([id, { code }]) => [id, code]));

/** One stage whose gradients are asked for; a's is useless. */
function spoiled(): Swarm {
  const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
  swarm.compute();
  swarm.spoil('a');
  return swarm;
}

type Elsewhere = 'STORE' | 'FULL' | 'IDLE' | 'USELESS' | 'OFFLINE' | 'DEVICE' | 'PAUSED' | 'POLICY' | 'INTENSITY' | 'FINISHING';

/**
 * For every reason but the store's and a full server's, which the server tells, the miner's own, and a stage's: who is told
 * it, when, and in which words.
 */
const SCENES: Record<Exclude<ReasonCode, Elsewhere>, { who: string; says: string; scene: () => Swarm }> = {
  LOADING: {
    who: 'a',
    says: 'Stage 0 is being fetched.',
    scene: () => {
      const swarm = new Swarm({ stages: 1 });
      swarm.join('a');
      return swarm;
    },
  },
  STAGE_EMPTY: {
    who: 'a',
    says: 'No miner holds stage 1 yet; one more miner starts the run.',
    scene: () => {
      const swarm = Swarm.ready(['a']);
      swarm.compute();
      return swarm;
    },
  },
  UPSTREAM: {
    who: 'b',
    says: 'Waiting for activations from stage 0.',
    scene: () => Swarm.ready(['a', 'b']),
  },
  DOWNSTREAM: {
    who: 'b',
    says: 'Waiting for gradients from stage 2.',
    scene: () => {
      const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 3 });
      swarm.compute((_, { kind }) => kind === 'forward');
      return swarm;
    },
  },
  PIPELINE_FULL: {
    who: 'a',
    says: '16 microbatches are under way; stage 0 starts the next when one is done.',
    scene: () => {
      const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 60 });
      swarm.compute((id) => id === 'a');
      return swarm;
    },
  },
  OTHER_MINERS: {
    who: 'b',
    says: 'The other miners of stage 0 have the rest of step 0.',
    scene: () => Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 1 }),
  },
  MERGING: {
    who: 'b',
    says: 'Stage 0 is collecting the gradients of 2 miners of step 0.',
    scene: () => {
      const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 4 });
      swarm.compute();
      return swarm;
    },
  },
  APPLYING: {
    who: 'a',
    says: 'The merge of step 0 is being applied.',
    scene: () => Swarm.ready(['a'], { stages: 1 }).reach(1),
  },
  OTHER_STAGES: {
    who: 'b',
    says: 'Step 1 starts when stage 0 has finished step 0.',
    scene: () => {
      const swarm = Swarm.ready(['a', 'b']);
      swarm.compute((id, { kind }) => id === 'b' || kind === 'forward');
      swarm.contribute('b');
      swarm.merge(1);
      swarm.apply('b');
      return swarm;
    },
  },
  RESTING: {
    who: 'b',
    says: 'This miner asked for a rest.',
    scene: () => {
      const swarm = Swarm.ready(['a', 'b'], { stages: 1 });
      swarm.busy('b', null, 5_000);
      return swarm;
    },
  },
  BANNED: {
    who: 'a',
    says: 'No leases for a while: 4 times in a row something came late.',
    scene: () => {
      const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 8 });
      swarm.coordinator.state.miners.get('a')!.late = 2;
      swarm.compute((id) => id === 'b');
      swarm.tick(LIMITS.maximumDeadline);
      swarm.coordinator.state.miners.get('a')!.waiting = null;
      return swarm;
    },
  },
  BANNED_WRONG: {
    who: 'a',
    says: 'No leases for a while: its gradient was not usable.',
    scene: spoiled,
  },
  COMPLETE: {
    who: 'b',
    says: 'The run has reached its last step.',
    scene: () => {
      const swarm = Swarm.ready(['a', 'b'], { steps: 1 }).reach(1);
      for (const id of ['a', 'b']) swarm.apply(id);
      return swarm;
    },
  },
};

describe('whoever waits is told', () => {
  it.each(Object.entries(SCENES))('%s', (code, { who, says, scene }) => {
    expect(waits(scene())[who]).toEqual({ code, message: says });
  });

  it('how many miners are missing', () => {
    const swarm = Swarm.ready(['a'], { stages: 3 });
    swarm.compute();
    expect(waits(swarm).a!.message).toBe('No miner holds stages 1, 2 yet; 2 more miners start the run.');
  });

  it('that it keeps as many inputs as it may', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { microbatchesPerStep: 60 });
    swarm.compute((id, { kind }) => id === 'a' && kind === 'forward');
    expect(waits(swarm).a).toEqual({
      code: 'DOWNSTREAM',
      message: `It keeps ${LIMITS.keptInputs + 1} inputs and waits for their gradients from stage 1.`,
    });
  });

  it('how far the merge is', () => {
    const swarm = SCENES.MERGING.scene();
    swarm.contribute('b');
    expect(waits(swarm).a!.message).toBe('Stage 0 is collecting the gradients of 1 miner of step 0.');
    swarm.contribute('a');
    expect(waits(swarm).a!.message).toBe('Stage 0 is adding up the gradients of step 0.');
  });

  it('that the merge waits for what is done again', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 1, microbatchesPerStep: 6 });
    swarm.compute();
    swarm.contribute('b');
    swarm.leave('a');
    swarm.compute();
    expect(waits(swarm).b).toEqual({ code: 'MERGING', message: 'Stage 0 waits for the last gradients of step 0.' });
  });

  it('what it is banned for, also when it comes back or joins anew', () => {
    const swarm = spoiled();
    swarm.join('a');
    expect(waits(swarm).a!.message).toContain('its gradient was not usable');
    swarm.leave('a');
    swarm.join('a');
    expect(waits(swarm).a).toMatchObject({ code: 'BANNED_WRONG', message: expect.stringContaining('its gradient was not usable') });
  });
});

describe('a reason', () => {
  it('is told once, while it holds', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 1 });
    expect(codeOf(swarm)).toEqual({ b: 'UPSTREAM' });
    expect(codeOf(swarm)).toEqual({});
    expect(of(swarm.pass(10_000), 'wait')).toEqual([]);
  });

  it('is told again when its sentence changes, with the time since when it is this one', () => {
    const swarm = Swarm.ready(['a', 'b', 'c'], { stages: 1, microbatchesPerStep: 6 });
    swarm.compute();
    const since = swarm.now;
    expect(of(swarm.tick(), 'wait').map((wait) => wait.since)).toEqual([since, since, since]);
    swarm.wait(3_000).contribute('a');
    expect(of(swarm.tick(), 'wait')).toMatchObject([{ since }, { since }, { since }]);
    swarm.contribute('b');
    swarm.contribute('c');
    swarm.merge(0);
    const [applying] = of(swarm.tick(), 'wait');
    expect(applying).toMatchObject({ since: swarm.now, reason: { code: 'APPLYING' } });
  });

  it('is over with the next lease, and begins anew after it', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 1 });
    swarm.tick();
    expect(swarm.miner('b').waiting).toMatchObject({ code: 'UPSTREAM', since: swarm.now });
    swarm.receipt('a', swarm.leasesOf('a')[0]!.id);
    expect(swarm.miner('b').waiting).toBeNull();
    swarm.wait(100).receipt('b', swarm.leasesOf('b')[0]!.id);
    expect(codeOf(swarm)).toEqual({ b: 'MERGING' });
    expect(swarm.miner('b').waiting!.since).toBe(swarm.now);
  });

  it('is told to nobody who has a lease or is away, and to whoever comes back', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 1 });
    swarm.disconnect('b');
    expect(codeOf(swarm)).toEqual({});
    swarm.resume('b');
    expect(codeOf(swarm)).toEqual({ b: 'UPSTREAM' });
    swarm.disconnect('b');
    swarm.resume('b');
    expect(codeOf(swarm)).toEqual({ b: 'UPSTREAM' });
  });

  it('has an end where that is known: of a ban and of a rest', () => {
    const untils = (swarm: Swarm) => Object.fromEntries(of(swarm.tick(), 'wait').map(({ minerId, until }) => [minerId, until]));
    const banned = spoiled();
    expect(untils(banned).a).toBe(banned.now + LIMITS.banBase);
    const resting = SCENES.RESTING.scene();
    for (const pause of [4_000, 9_000]) {
      resting.busy('b', null, pause);
      expect(untils(resting).b).toBe(resting.now + pause);
    }
    expect(untils(SCENES.UPSTREAM.scene()).b).toBeNull();
  });

  it('says of a stage whose last microbatch is useless in whosever hands, and blames nobody for it any more', () => {
    const swarm = Swarm.ready(['a', 'b'], { stages: 1, microbatchesPerStep: 2, minMicrobatches: 2 });
    swarm.compute((_, { microbatch }) => microbatch === 0);
    for (let i = 0; i < 10; i++) {
      const [id] = ['a', 'b'].filter((name) => swarm.leasesOf(name).length > 0);
      swarm.forfeit(id!, swarm.leasesOf(id!)[0]!.id);
      swarm.pass(LIMITS.shortestRest);
    }
    expect(swarm.coordinator.view()[0]!.reason).toEqual({
      code: 'USELESS',
      message: 'Microbatch 1 is useless in whosever hands, and no more may be left out of step 0.',
    });
    expect(swarm.counters).toMatchObject({ bans: 0, abandoned: 0 });
    // It was the text after all, or the model: the operator says that one is enough.
    swarm.send({ type: 'configure', goals: { steps: 0, validateEvery: 10, minMicrobatches: 1 } });
    const [id] = ['a', 'b'].filter((name) => swarm.leasesOf(name).length > 0);
    swarm.forfeit(id!, swarm.leasesOf(id!)[0]!.id);
    swarm.reach(1);
  });

  it('says of a stage that nobody has it loaded yet, or that all of its miners are away', () => {
    const swarm = new Swarm({ microbatchesPerStep: 1 });
    for (const id of ['a', 'b']) swarm.join(id);
    expect(swarm.coordinator.view()[0]!.reason).toEqual({ code: 'LOADING', message: 'The miners of stage 0 are still fetching it.' });
    for (const id of ['a', 'b']) swarm.load(id);
    expect(swarm.coordinator.view()[0]!.reason).toBeNull();
    swarm.busy('a', swarm.leasesOf('a')[0]!.id, 5_000);
    expect(swarm.coordinator.view()[0]!.reason).toEqual({ code: 'RESTING', message: 'The miners of stage 0 are away or at rest.' });
  });

  it('stands beside the progress of its stage for pages', () => {
    const swarm = Swarm.ready(['a', 'b'], { microbatchesPerStep: 3 });
    swarm.compute((_, { microbatch, kind }) => kind === 'forward' || microbatch < 1);
    const [first, second] = swarm.coordinator.view();
    expect([first!.done, first!.total, first!.reason]).toMatchObject([1, 3, { code: 'DOWNSTREAM' }]);
    expect([second!.done, second!.total, second!.reason]).toEqual([1, 3, null]);
  });
});
