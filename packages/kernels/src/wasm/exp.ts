import { type Module, v128 } from './assembler.ts';

/** Below it, e^x is no normal float32: 0 instead, so that nothing goes on with subnormal numbers. */
const LOWEST = -87.33;
const HIGHEST = 88.37;

/**
 * e^x of four numbers, to 2 units in the last place: x = n·ln 2 + r with |r| ≤ ½·ln 2, e^r by the minimax polynomial of Cephes' expf
 * (netlib.org/cephes), 2ⁿ by its exponent's bits. Above 88.37 as at 88.37.
 */
export function defineExp(module: Module) {
  return module.define(null, ['v128'], 'v128', (body, input) => {
    const x = body.local('v128', v128.min(input, v128.const(HIGHEST)));
    const n = body.local('v128', v128.nearest(v128.mul(x.value, v128.const(Math.LOG2E))));
    // ln 2 in two parts, the first with few enough bits that its product is exact.
    const r = body.local('v128', v128.sub(x.value, v128.mul(n.value, v128.const(0.693359375))));
    r.set(v128.sub(r.value, v128.mul(n.value, v128.const(-2.1219444e-4))));
    const terms = [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1];
    const polynomial = terms.slice(1).reduce((sum, term) => v128.add(v128.mul(sum, r.value), v128.const(term)), v128.const(terms[0]!));
    const fraction = v128.add(v128.add(v128.mul(polynomial, v128.mul(r.value, r.value)), r.value), v128.const(1));
    const power = v128.shiftLeftInt(v128.addInt(v128.truncate(n.value), v128.constInt(127)), 23);
    return v128.and(v128.mul(fraction, power), v128.greaterOrEqual(x.value, v128.const(LOWEST)));
  });
}
