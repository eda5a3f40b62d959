/**
 * Rotary positions and causal grouped-query attention, with memory linear in the context.
 *
 * The forward keeps the log of each row's softmax denominator; the backward computes every probability
 * again from it (FlashAttention, arXiv:2205.14135, here without tiles: an invocation owns one row of one
 * head). Queries, keys and values get their gradients in separate passes, so there are no atomics.
 * Query and output are `[n, H·D]`, key and value `[n, K·D]`; rows b·T + t.
 */
import type { AttentionShape } from '../kernels.ts';
import { type Components, componentsFor, type Shader, typeFor } from './shader.ts';

/** Elements are as wide as half a head allows, since rotation pairs the halves. Q: elements of a head. */
function common(shape: AttentionShape) {
  const { sequences: B, context: T, heads: H, keyValueHeads: K, headWidth: D } = shape;
  const c = componentsFor(D / 2);
  const constants = { T, H, K, C: c, Q: D / c, GROUP: H / K, SCALE: 1 / Math.sqrt(D) };
  const dot = (a: string, b: string) => (c === 1 ? `${a} * ${b}` : `dot(${a}, ${b})`);
  return { B, T, H, K, D, c, constants, array: `array<${typeFor(c)}, Q>`, dot };
}

/** A shader with one invocation per row of each query head (or key head), after `start`. */
function perRow(shape: AttentionShape, kind: 'query' | 'key', name: string, inputs: Record<string, Components>, code: string): Shader {
  const { B, T, H, K, D, c, constants } = common(shape);
  const heads = kind === 'query' ? H : K;
  return {
    name: `attention ${name}`,
    constants,
    inputs,
    outputShape: [B * T, heads * D],
    outputComponents: c,
    invocations: B * T * heads,
    code: (kind === 'query' ? QUERY_ROW : KEY_ROW) + code,
  };
}

/** The row and head of this invocation, and where its query and its group's first key begin. Statistics are `[n, H]`. */
const QUERY_ROW = `
  let t = index / H % T;
  let query = index * Q;
  let keys = (index / H - t) * K * Q + index % H / GROUP * Q;`;

const KEY_ROW = `
  let t = index / K % T;
  let key = index * Q;
  let firstRow = index / K - t;
  let firstHead = index % K * GROUP;`;

const each = (statement: string) => `for (var i = 0; i < Q; i++) { ${statement} }`;

/** Writes `total`, turned back by the angle of position t: the transpose of a rotation is its inverse. */
const storeTurnedBack = `
  for (var i = 0; i < Q / 2; i++) {
    let cosine = Table[t * Q + i];
    let sine = Table[t * Q + Q / 2 + i];
    result[index * Q + i] = total[i] * cosine + total[i + Q / 2] * sine;
    result[index * Q + i + Q / 2] = total[i + Q / 2] * cosine - total[i] * sine;
  }`;

/** `[n, heads·D]` with the halves of each head turned against each other by the row's angles. `Table` is `[T, D]`: cos | sin. */
export function rotaryShader(shape: AttentionShape, heads: number): Shader {
  const { B, T, D, c, constants } = common(shape);
  return {
    name: 'rotary',
    constants: { ...constants, HEADS: heads },
    inputs: { X: c, Table: c },
    outputShape: [B * T, heads * D],
    outputComponents: c,
    invocations: (B * T * heads * constants.Q) / 2,
    code: `
      let i = index % (Q / 2);
      let first = index / (Q / 2) * Q + i;
      let t = index / (Q / 2) / HEADS % T;
      let cosine = Table[t * Q + i];
      let sine = Table[t * Q + Q / 2 + i];
      result[first] = X[first] * cosine - X[first + Q / 2] * sine;
      result[first + Q / 2] = X[first + Q / 2] * cosine + X[first] * sine;`,
  };
}

/** `[n, H]`: log Σ exp of the scores of each query row. */
export function logSumShader(shape: AttentionShape): Shader {
  const { B, T, H, c, array, dot } = common(shape);
  const row = perRow(
    shape,
    'query',
    'log sum',
    { Query: c, Key: c },
    `
      var q : ${array};
      ${each('q[i] = Query[query + i] * SCALE;')}
      var most = -1e30;
      var total = 0.0;
      for (var j = 0; j <= t; j++) {
        var score = 0.0;
        ${each(`score += ${dot('q[i]', 'Key[keys + j * K * Q + i]')};`)}
        let higher = max(most, score);
        total = total * exp(most - higher) + exp(score - higher);
        most = higher;
      }
      result[index] = most + log(total);`,
  );
  return { ...row, outputShape: [B * T, H], outputComponents: 1 };
}

/** `[n, H·D]`: probabilities · values. */
export function outputShader(shape: AttentionShape): Shader {
  const { c, array, dot } = common(shape);
  return perRow(
    shape,
    'query',
    'output',
    { Query: c, Key: c, Value: c, LogSum: 1 },
    `
      var q : ${array};
      var total : ${array};
      ${each('q[i] = Query[query + i] * SCALE;')}
      for (var j = 0; j <= t; j++) {
        var score = -LogSum[index];
        ${each(`score += ${dot('q[i]', 'Key[keys + j * K * Q + i]')};`)}
        let p = exp(score);
        ${each('total[i] += p * Value[keys + j * K * Q + i];')}
      }
      ${each('result[query + i] = total[i];')}`,
  );
}

/** `[n, H]`: Σ gradient·output of each row, which the gradient of each of its scores needs. */
export function deltaShader(shape: AttentionShape): Shader {
  const { B, T, H, c, dot } = common(shape);
  const row = perRow(
    shape,
    'query',
    'delta',
    { Gradient: c, Output: c },
    `
      var delta = 0.0;
      ${each(`delta += ${dot('Gradient[query + i]', 'Output[query + i]')};`)}
      result[index] = delta;`,
  );
  return { ...row, outputShape: [B * T, H], outputComponents: 1 };
}

/** Gradient of the query before its rotation. */
export function queryGradientShader(shape: AttentionShape): Shader {
  const { c, array, dot } = common(shape);
  return perRow(
    shape,
    'query',
    'query gradient',
    { Gradient: c, Query: c, Key: c, Value: c, LogSum: 1, Delta: 1, Table: c },
    `
      var q : ${array};
      var g : ${array};
      var total : ${array};
      ${each('q[i] = Query[query + i] * SCALE; g[i] = Gradient[query + i];')}
      for (var j = 0; j <= t; j++) {
        var score = -LogSum[index];
        var slope = -Delta[index];
        ${each(`score += ${dot('q[i]', 'Key[keys + j * K * Q + i]')}; slope += ${dot('g[i]', 'Value[keys + j * K * Q + i]')};`)}
        let ds = exp(score) * slope * SCALE;
        ${each('total[i] += ds * Key[keys + j * K * Q + i];')}
      }
      ${storeTurnedBack}`,
  );
}

/** Goes over every query row that sees this key, over all heads of its group. */
const overQueries = (body: string) => `
  for (var h = firstHead; h < firstHead + GROUP; h++) {
    for (var s = t; s < T; s++) {
      let row = (firstRow + s) * H + h;
      ${body}
    }
  }`;

/** Gradient of the key before its rotation. */
export function keyGradientShader(shape: AttentionShape): Shader {
  const { c, array, dot } = common(shape);
  return perRow(
    shape,
    'key',
    'key gradient',
    { Gradient: c, Query: c, Key: c, Value: c, LogSum: 1, Delta: 1, Table: c },
    `
      var k : ${array};
      var v : ${array};
      var total : ${array};
      ${each('k[i] = Key[key + i] * SCALE; v[i] = Value[key + i];')}
      ${overQueries(`
        var score = -LogSum[row];
        var slope = -Delta[row];
        ${each(`score += ${dot('k[i]', 'Query[row * Q + i]')}; slope += ${dot('v[i]', 'Gradient[row * Q + i]')};`)}
        let ds = exp(score) * slope * SCALE;
        ${each('total[i] += ds * Query[row * Q + i];')}`)}
      ${storeTurnedBack}`,
  );
}

export function valueGradientShader(shape: AttentionShape): Shader {
  const { c, array, dot } = common(shape);
  return perRow(
    shape,
    'key',
    'value gradient',
    { Gradient: c, Query: c, Key: c, LogSum: 1 },
    `
      var k : ${array};
      var total : ${array};
      ${each('k[i] = Key[key + i] * SCALE;')}
      ${overQueries(`
        var score = -LogSum[row];
        ${each(`score += ${dot('k[i]', 'Query[row * Q + i]')};`)}
        let p = exp(score);
        ${each('total[i] += p * Gradient[row * Q + i];')}`)}
      ${each('result[key + i] = total[i];')}`,
  );
}
