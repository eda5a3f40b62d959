/** What a validator tells is good for nothing that it has not told. */
import { expect, it } from 'vitest';
import { Secrets } from './secrets.ts';

it('has other secrets in every epoch, run and server, and the same ones after a restart', () => {
  const of = (seed: string, origin: string, runId: string, epoch: number) => new Secrets(seed, origin, runId).of(epoch);
  const secrets = [
    of('seed', 'https://a', 'run', 0),
    of('other', 'https://a', 'run', 0),
    of('seed', 'https://b', 'run', 0),
    of('seed', 'https://a', 'next', 0),
    of('seed', 'https://a', 'run', 1),
  ];
  expect(new Set(secrets).size).toBe(secrets.length);
  expect(of('seed', 'https://a', 'run', 0)).toBe(secrets[0]);
});

it('draws by no secret that is told, and tells none that draws', () => {
  const secrets = new Secrets('seed', 'https://a', 'run');
  expect(secrets.toDraw(1)).toBe(secrets.of(1));
  expect(() => secrets.toTell(1)).toThrow(expect.objectContaining({ code: 'BAD_MESSAGE' }));
  expect(secrets.toTell(0)).toBe(secrets.of(0));
  expect(() => secrets.toDraw(0)).toThrow(expect.objectContaining({ code: 'BAD_MESSAGE' }));
});
