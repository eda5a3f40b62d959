/** An audit that cannot be made is lost alone, and what is urgent comes first. */
import type { AuditedRun } from '@starling/audit';
import { ReplayThread } from '@starling/audit/node';
import { evidenceOf, Rehearsal, ruledText } from '@starling/audit/zoo';
import { cutStages, presetOf } from '@starling/model';
import { expect, it } from 'vitest';
import { LocalValidator } from './local-validator.ts';

it('loses the audit that fails, and none that waits with it or comes after it', async () => {
  const { shape, optimizer } = presetOf('pico');
  const run: AuditedRun = { model: shape, stages: cutStages(shape, 1), sequences: 1, boundary: 'f32', gradient: 'f32' };
  const thread = new ReplayThread('wasm');
  const text = (cursor: number) => ruledText(shape.context, cursor);
  const rehearsal = new Rehearsal({ run, seed: 3, optimizer, microbatchesPerStep: 1, text }, (of, work) => thread.replay(of, work));
  const [work] = await rehearsal.step();
  const evidence = await evidenceOf(work!, await thread.replay(run, work!));
  await thread.close();
  const validator = new LocalValidator('wasm');
  const audits = [run, { ...run, boundary: 'none' as 'f32' }, run, run].map((each) => validator.validate(each, evidence));
  const settled = await Promise.allSettled(audits);
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
  const order: string[] = [];
  await Promise.all(
    (['first', 'later', 'urgent'] as const).map(async (name) => {
      expect(await validator.validate(run, evidence, name === 'urgent')).toMatchObject({ outcome: 'passed' });
      order.push(name);
    }),
  );
  expect(order).toEqual(['first', 'urgent', 'later']);
  const waiting = [run, run].map((each) => validator.validate(each, evidence));
  await validator.close();
  expect(
    (await Promise.allSettled(waiting)).map(({ status }) => status),
    'nobody waits for ever',
  ).toEqual(['rejected', 'rejected']);
});
