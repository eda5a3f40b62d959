/** What is one dispatch, or one call, gives what its parts give one by one, in either precision. */
import { describe, expect, it } from 'vitest';
import { elements } from './cases.ts';
import type { Tensor } from './kernels.ts';
import { expectClose, onEachBackend, randomNumbers, randomTokens } from './testing.ts';

/** float32 sums of at most a hundred terms, in another order; halves are the same ones on the same device. */
const TOLERANCE = 3e-6;

describe.each(['f32', 'f16'] as const)('%s', (precision) => {
  onEachBackend(
    (kernels) => {
      it('fuses what it also does one by one', async () => {
        const k = kernels();
        const [rows, width, hidden, vocabulary] = [9, 8, 12, 70];
        const some = (seed: number, ...shape: number[]) => k.upload(randomNumbers(elements(shape), seed), shape);
        const [x, dy, down] = [some(1, rows, width), some(2, rows, width), some(3, hidden, width)];
        const [toGate, toUp, head] = [some(4, width, hidden), some(5, width, hidden), some(6, width, vocabulary)];
        const targets = k.upload(randomTokens(rows, 7, vocabulary), [rows]);
        const results = k.scope((): Record<string, [fused: Tensor, composed: Tensor]> => {
          const { gate, up, activated } = k.gatedMatmul(x, toGate, toUp);
          const composed = k.swiglu(k.matmul(x, toGate), k.matmul(x, toUp));
          const gated = k.gatedMatmulBackward(gate, up, dy, down);
          const apart = k.swigluBackward(gate, up, k.matmul(dy, down, false, true));
          const loss = k.headLossBackward(x, head, targets);
          const plain = k.crossEntropy(k.matmul(x, head), targets);
          const { inverse } = k.rmsNorm(x, some(8, width));
          return {
            addend: [k.matmul(x, toGate, false, false, gate), k.add(k.matmul(x, toGate), gate)],
            matmuls: [k.matmuls(x, [toGate, toUp])[1]!, k.matmul(x, toUp)],
            transposed: [k.matmuls(x, [gate, up], true)[1]!, k.matmul(x, up, true, false)],
            sum: [
              k.sumOfMatmuls([
                [gate, toGate],
                [up, toUp],
              ]),
              k.add(k.matmul(gate, toGate, false, true), k.matmul(up, toUp, false, true)),
            ],
            gate: [gate, k.matmul(x, toGate)],
            activated: [activated, composed],
            only: [k.gatedMatmulOnly(x, toGate, toUp), composed],
            dgate: [gated.dgate, apart.dgate],
            dup: [gated.dup, apart.dup],
            norm: [k.rmsNormBackward(x, some(8, width), inverse, dy, x).dx, k.add(k.rmsNormBackward(x, some(8, width), inverse, dy).dx, x)],
            loss: [k.headLoss(x, head, targets), plain.lossSum],
            'loss with gradients': [loss.lossSum, plain.lossSum],
            'dy of loss': [loss.dy, k.matmul(plain.dlogits, head, false, true)],
            'dhead of loss': [loss.dhead, k.matmul(x, plain.dlogits, true, false)],
          };
        });
        for (const [name, [fused, composed]] of Object.entries(results)) {
          expect(fused.shape, name).toEqual(composed.shape);
          expectClose(await k.download(fused), await k.download(composed), TOLERANCE, name);
        }
        k.dispose(...new Set(Object.values(results).flat()), x, dy, down, toGate, toUp, head, targets);
      });
    },
    { precision, reference: true },
  );
});
