/** An audit that cannot be made, or does not end, is lost alone; what is urgent comes first, and not only that. */
import type { AuditedRun, Evidence } from '@starling/audit';
import { ReplayThread } from '@starling/audit/node';
import { evidenceOf, Rehearsal, ruledText } from '@starling/audit/zoo';
import { cutStages, presetOf } from '@starling/model';
import { beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { LocalValidator } from './local-validator.ts';

const { shape, optimizer } = presetOf('pico');
const run: AuditedRun = { model: shape, stages: cutStages(shape, 1), sequences: 1, boundary: 'f32', gradient: 'f32' };
let evidence: Evidence;
beforeAll(async () => {
  const thread = new ReplayThread('wasm');
  const text = (cursor: number) => ruledText(shape.context, cursor);
  const rehearsal = new Rehearsal({ run, seed: 3, optimizer, microbatchesPerStep: 1, text }, (of, work) => thread.replay(of, work));
  const [work] = await rehearsal.step();
  evidence = await evidenceOf(work!, await thread.replay(run, work!));
  await thread.close();
});

/** These, asked for at once; in the order in which they were answered. */
async function answered(validator: LocalValidator, names: readonly string[]): Promise<string[]> {
  const order: string[] = [];
  const one = async (name: string) => {
    expect(await validator.validate(run, evidence, name.startsWith('urgent'))).toMatchObject({ outcome: 'passed' });
    order.push(name);
  };
  await Promise.all(names.map(one));
  return order;
}

it('loses the audit that fails, and none that waits with it or comes after it', async () => {
  const validator = new LocalValidator('wasm');
  const audits = [run, { ...run, boundary: 'none' as 'f32' }, run, run].map((each) => validator.validate(each, evidence));
  const settled = await Promise.allSettled(audits);
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  expect(await answered(validator, ['first', 'later', 'urgent'])).toEqual(['first', 'urgent', 'later']);
  const waiting = [run, run].map((each) => validator.validate(each, evidence));
  await validator.close();
  expect(
    (await Promise.allSettled(waiting)).map(({ status }) => status),
    'nobody waits for ever',
  ).toEqual(['rejected', 'rejected']);
});

it('makes one audit in four that is not urgent, however many are', async () => {
  const validator = new LocalValidator('wasm');
  onTestFinished(() => validator.close());
  const urgent = [1, 2, 3, 4, 5, 6].map((i) => `urgent ${i}`);
  const order = await answered(validator, [...urgent, 'one', 'another']);
  expect(order).toEqual([...urgent.slice(0, 3), 'one', ...urgent.slice(3), 'another']);
});

it('makes as many at once as it has threads', async () => {
  const validator = new LocalValidator('wasm', 2);
  const started = vi.spyOn(ReplayThread.prototype, 'audit');
  onTestFinished(() => started.mockRestore());
  const audits = [1, 2, 3, 4, 5].map(() => validator.validate(run, evidence));
  const threads = () => new Set(started.mock.contexts);
  expect([started.mock.calls.length, threads().size], 'at once').toEqual([2, 2]);
  for (const verdict of await Promise.all(audits)) expect(verdict).toMatchObject({ outcome: 'passed' });
  expect([started.mock.calls.length, threads().size], 'and no other').toEqual([5, 2]);
  await validator.close();
});

it('gives up a replay that does not end, and makes the next one', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const validator = new LocalValidator('wasm');
  onTestFinished(() => validator.close());
  const hangs = validator.validate(run, evidence);
  const next = validator.validate(run, evidence);
  vi.advanceTimersByTime(600_000);
  await expect(hangs).rejects.toMatchObject({ code: 'BACKEND_FAILED', message: 'An audit was not done after 10 minutes.' });
  expect(await next).toMatchObject({ outcome: 'passed' });
});
