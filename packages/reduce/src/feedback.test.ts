import { describe, expect, it } from 'vitest';
import { CODECS } from './codecs.ts';
import { ErrorFeedback } from './feedback.ts';
import { drawOf, gradientLike, normOf } from './for-tests.ts';
import { cutShards } from './shards.ts';

const { topk2bit, int8 } = CODECS;
const LENGTH = 3 * 4096 + 100;
const shards = cutShards(LENGTH, 3, topk2bit.block);

function decoded(encoded: ReturnType<ErrorFeedback['encode']>, codec = topk2bit): Float32Array {
  const result = new Float32Array(LENGTH);
  shards.forEach(({ offset, length }, i) => {
    result.set(codec.decode(encoded[i]!, length), offset);
  });
  return result;
}

describe('error feedback', () => {
  it('brings back what was not said: with β = 1, all that was said and what is held back is all that was given', () => {
    const feedback = new ErrorFeedback(LENGTH, 1);
    const given = new Float64Array(LENGTH);
    const said = new Float64Array(LENGTH);
    for (let step = 0; step < 20; step++) {
      const vector = gradientLike(drawOf(step), LENGTH);
      const answer = decoded(feedback.encode(topk2bit, vector, shards));
      vector.forEach((x, i) => {
        given[i]! += x;
        said[i]! += answer[i]!;
      });
    }
    const missing = given.map((x, i) => x - said[i]! - feedback.residual[i]!);
    expect(normOf(missing)).toBeLessThan(1e-6 * normOf(given));
    expect(normOf(feedback.residual)).toBeGreaterThan(0);
  });

  it('says in time all of a gradient that stays the same; without it most is never said', () => {
    const vector = gradientLike(drawOf(1), LENGTH);
    const feedback = new ErrorFeedback(LENGTH, 1);
    const mean = new Float64Array(LENGTH);
    const steps = 800;
    for (let step = 0; step < steps; step++) {
      decoded(feedback.encode(topk2bit, vector, shards)).forEach((x, i) => {
        mean[i]! += x / steps;
      });
    }
    const miss = (answer: ArrayLike<number>) => normOf(vector.map((x, i) => x - answer[i]!)) / normOf(vector);
    expect(miss(mean)).toBeLessThan(0.1);
    expect(miss(decoded(new ErrorFeedback(LENGTH).encode(topk2bit, vector, shards)))).toBeGreaterThan(0.5);
  });

  it('goes on after a reconnect as if there had been none, and from nothing after `zero`', () => {
    const one = new ErrorFeedback(LENGTH, 0.95);
    one.encode(topk2bit, gradientLike(drawOf(1), LENGTH), shards);
    const two = ErrorFeedback.restore(one.serialise(), LENGTH, 0.95);
    const next = gradientLike(drawOf(2), LENGTH);
    expect(two.encode(topk2bit, next, shards)).toEqual(one.encode(topk2bit, next, shards));
    one.zero();
    expect(one.encode(topk2bit, next, shards)).toEqual(new ErrorFeedback(LENGTH).encode(topk2bit, next, shards));
  });

  it('works with every codec that loses something', () => {
    const feedback = new ErrorFeedback(LENGTH, 1);
    const vector = gradientLike(drawOf(3), LENGTH);
    const answer = decoded(feedback.encode(int8, vector, shards), int8);
    expect(feedback.residual).toEqual(vector.map((x, i) => x - answer[i]!));
  });

  it('stays as it was when a vector cannot be encoded, and refuses a state that is none', () => {
    const feedback = new ErrorFeedback(LENGTH);
    feedback.encode(topk2bit, gradientLike(drawOf(4), LENGTH), shards);
    const before = feedback.serialise();
    expect(() => feedback.encode(topk2bit, new Float32Array(LENGTH).fill(Number.NaN), shards)).toThrow(
      expect.objectContaining({ code: 'TENSOR_NOT_FINITE' }),
    );
    expect(() => feedback.encode(topk2bit, new Float32Array(3), shards)).toThrow(expect.objectContaining({ code: 'TENSOR_SHAPE' }));
    expect(feedback.serialise()).toEqual(before);
    expect(() => ErrorFeedback.restore(before.slice(4), LENGTH)).toThrow(expect.objectContaining({ code: 'SHARD_MALFORMED' }));
  });
});
