/** RMSNorm and its gradients, as in `kernels.ts`: x `[n,d]`, gain `[d]`, inverse `[n,1]`. */
import { NORM_EPSILON } from '../kernels.ts';
import { type Components, componentsFor, type Shader, sumOf, typeFor } from './shader.ts';

/** One invocation per element of `[n,d]`. */
function perElement(
  rows: number,
  width: number,
  name: string,
  inputs: (c: Components) => Record<string, Components>,
  code: string,
): Shader {
  const c = componentsFor(width);
  return {
    name,
    constants: { WIDTH: width, C: c },
    inputs: inputs(c),
    outputShape: [rows, width],
    outputComponents: c,
    invocations: (rows * width) / c,
    code: `let row = index / (WIDTH / C); let column = index % (WIDTH / C); ${code}`,
  };
}

/** `[n,1]`: 1 / √(mean(x²) + ε). */
export function inverseRmsShader(rows: number, width: number): Shader {
  const c = componentsFor(width);
  return {
    name: 'inverse rms',
    constants: { WIDTH: width, EPSILON: NORM_EPSILON, C: c },
    inputs: { X: c },
    outputShape: [rows, 1],
    outputComponents: 1,
    invocations: rows,
    code: `
      var total = ${typeFor(c)}(0.0);
      for (var i = index * (WIDTH / C); i < (index + 1) * (WIDTH / C); i++) { total += X[i] * X[i]; }
      result[index] = inverseSqrt(${sumOf(c, 'total')} / f32(WIDTH) + EPSILON);`,
  };
}

export function rmsNormShader(rows: number, width: number): Shader {
  const inputs = (c: Components) => ({ X: c, Inverse: 1 as const, Gain: c });
  return perElement(rows, width, 'rms norm', inputs, 'result[index] = X[index] * Inverse[row] * Gain[column];');
}

/** `[n,1]`: r³·mean(x·g·dy), with r the inverse. */
export function rmsNormAlongShader(rows: number, width: number): Shader {
  const c = componentsFor(width);
  return {
    name: 'rms norm along',
    constants: { WIDTH: width, C: c },
    inputs: { X: c, Gain: c, Inverse: 1, Gradient: c },
    outputShape: [rows, 1],
    outputComponents: 1,
    invocations: rows,
    code: `
      var total = ${typeFor(c)}(0.0);
      for (var i = 0; i < WIDTH / C; i++) {
        let at = index * (WIDTH / C) + i;
        total += X[at] * Gain[i] * Gradient[at];
      }
      let r = Inverse[index];
      result[index] = r * r * r * (${sumOf(c, 'total')} / f32(WIDTH));`,
  };
}

export function rmsNormInputShader(rows: number, width: number): Shader {
  const inputs = (c: Components) => ({ X: c, Gain: c, Inverse: 1 as const, Gradient: c, Along: 1 as const });
  const code = 'result[index] = Gradient[index] * Gain[column] * Inverse[row] - X[index] * Along[row];';
  return perElement(rows, width, 'rms norm input gradient', inputs, code);
}

/** `[n,d]`: what the gain's gradient is the column sum of. */
export function rmsNormGainShader(rows: number, width: number): Shader {
  const inputs = (c: Components) => ({ X: c, Inverse: 1 as const, Gradient: c });
  return perElement(rows, width, 'rms norm gain gradient', inputs, 'result[index] = Gradient[index] * X[index] * Inverse[row];');
}
