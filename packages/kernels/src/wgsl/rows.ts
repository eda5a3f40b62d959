/** Shaders over the rows of an activation: SwiGLU, embedding, cross entropy, and plain sums. */
import { componentsFor, type Shader, typeFor } from './shader.ts';

const sizeOf = (shape: readonly number[]) => shape.reduce((n, axis) => n * axis, 1);

/** An elementwise shader over inputs of one shape. */
function elementwise(name: string, shape: readonly number[], inputs: string[], code: string): Shader {
  const c = componentsFor(sizeOf(shape));
  return {
    name,
    constants: { C: c },
    inputs: Object.fromEntries(inputs.map((input) => [input, c])),
    outputShape: [...shape],
    outputComponents: c,
    invocations: sizeOf(shape) / c,
    code,
  };
}

export const addShader = (shape: readonly number[]) => elementwise('add', shape, ['A', 'B'], 'result[index] = A[index] + B[index];');

/** `gate·σ(gate)·up`. */
export const swigluShader = (shape: readonly number[]) =>
  elementwise('swiglu', shape, ['Gate', 'Up'], 'let gate = Gate[index]; result[index] = gate / (1.0 + exp(-gate)) * Up[index];');

/** Gradient of the gate: `dy·up·(σ + silu·(1 − σ))`. */
export const swigluGateShader = (shape: readonly number[]) =>
  elementwise(
    'swiglu gate gradient',
    shape,
    ['Gate', 'Up', 'Gradient'],
    `let sigma = 1.0 / (1.0 + exp(-Gate[index]));
     result[index] = Gradient[index] * Up[index] * (sigma + Gate[index] * sigma * (1.0 - sigma));`,
  );

/** Gradient of up: `dy·silu(gate)`. */
export const swigluUpShader = (shape: readonly number[]) =>
  elementwise(
    'swiglu up gradient',
    shape,
    ['Gate', 'Gradient'],
    'let gate = Gate[index]; result[index] = Gradient[index] * (gate / (1.0 + exp(-gate)));',
  );

export const reluShader = (shape: readonly number[]) =>
  elementwise('relu', shape, ['X'], `result[index] = max(X[index], ${typeFor(componentsFor(sizeOf(shape)))}());`);

export const reluBackwardShader = (shape: readonly number[]) => {
  const type = typeFor(componentsFor(sizeOf(shape)));
  const code = `result[index] = select(${type}(), Gradient[index], X[index] > ${type}());`;
  return elementwise('relu gradient', shape, ['X', 'Gradient'], code);
};

/** Rows summed by one invocation, so that long sums run in parallel, in passes. */
const CHUNK = 32;

/** `[⌈rows/CHUNK⌉, width]`: one pass of a sum over rows. */
export function columnSumShader(rows: number, width: number): Shader {
  const chunks = Math.ceil(rows / CHUNK);
  return {
    name: 'column sum',
    constants: { ROWS: rows, WIDTH: width, CHUNK },
    inputs: { X: 1 },
    outputShape: [chunks, width],
    outputComponents: 1,
    invocations: chunks * width,
    code: `
      let first = index / WIDTH * CHUNK;
      var total = 0.0;
      for (var row = first; row < min(first + CHUNK, ROWS); row++) { total += X[row * WIDTH + index % WIDTH]; }
      result[index] = total;`,
  };
}

/** Rows of a table: `[V, d]`, `[n]` → `[n, d]`. */
export function embeddingShader(rows: number, width: number): Shader {
  const c = componentsFor(width);
  return {
    name: 'embedding',
    constants: { WIDTH: width, C: c },
    inputs: { Table: c, Tokens: 1 },
    outputShape: [rows, width],
    outputComponents: c,
    invocations: (rows * width) / c,
    code: 'result[index] = Table[Tokens[index / (WIDTH / C)] * (WIDTH / C) + index % (WIDTH / C)];',
  };
}

/** Gradient of the table: each invocation looks through all tokens for its own, in order; quick for small vocabularies. */
export function embeddingBackwardShader(rows: number, width: number, vocabulary: number): Shader {
  const c = componentsFor(width);
  return {
    name: 'embedding gradient',
    constants: { ROWS: rows, WIDTH: width, C: c },
    inputs: { Gradient: c, Tokens: 1 },
    outputShape: [vocabulary, width],
    outputComponents: c,
    invocations: (vocabulary * width) / c,
    code: `
      let token = index / (WIDTH / C);
      var total = ${typeFor(c)}(0.0);
      for (var row = 0; row < ROWS; row++) {
        if (Tokens[row] == token) { total += Gradient[row * (WIDTH / C) + index % (WIDTH / C)]; }
      }
      result[index] = total;`,
  };
}

/** `[n]`: log Σ exp of each row of the logits `[n, V]`. */
export function logSumExpShader(rows: number, vocabulary: number): Shader {
  return {
    name: 'log sum exp',
    constants: { VOCABULARY: vocabulary },
    inputs: { X: 1 },
    outputShape: [rows],
    outputComponents: 1,
    invocations: rows,
    code: `
      let first = index * VOCABULARY;
      var most = X[first];
      for (var i = first + 1; i < first + VOCABULARY; i++) { most = max(most, X[i]); }
      var total = 0.0;
      for (var i = first; i < first + VOCABULARY; i++) { total += exp(X[i] - most); }
      result[index] = most + log(total);`,
  };
}

/** `[n]`: log Σ exp − the target's logit. */
export function negativeLogLikelihoodShader(rows: number, vocabulary: number): Shader {
  return {
    name: 'negative log likelihood',
    constants: { VOCABULARY: vocabulary },
    inputs: { X: 1, LogSum: 1, Targets: 1 },
    outputShape: [rows],
    outputComponents: 1,
    invocations: rows,
    code: 'result[index] = LogSum[index] - X[index * VOCABULARY + Targets[index]];',
  };
}

/** Softmax − one-hot, `[n, V]`. */
export function crossEntropyGradientShader(rows: number, vocabulary: number): Shader {
  return {
    name: 'cross entropy gradient',
    constants: { VOCABULARY: vocabulary },
    inputs: { X: 1, LogSum: 1, Targets: 1 },
    outputShape: [rows, vocabulary],
    outputComponents: 1,
    invocations: rows * vocabulary,
    code: `
      let row = index / VOCABULARY;
      result[index] = exp(X[index] - LogSum[row]) - select(0.0, 1.0, index % VOCABULARY == Targets[row]);`,
  };
}
