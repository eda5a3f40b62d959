/** One compute shader as data, and how it becomes a tfjs program. */
import type { WebGPUProgram } from '@tensorflow/tfjs-backend-webgpu/dist/webgpu_program.js';

export interface Shader {
  /** Unique among shaders whose code or inputs differ. */
  name: string;
  /** Declared as `const NAME = value;` before the code. They are also the pipeline's cache key, so none can be forgotten. */
  constants: Record<string, number>;
  /** Input name (capitalised) → components of its elements in WGSL: 1, 2 or 4. */
  inputs: Record<string, Components>;
  outputShape: number[];
  /** Components of the elements of `result`. */
  outputComponents: Components;
  /** How many invocations have work; each gets its number as `index`. */
  invocations: number;
  /** Statements of one invocation, writing to `result`. */
  code: string;
}

export type Components = 1 | 2 | 4;

const WORKGROUP = 64;

/**
 * No shader here uses workgroup memory or barriers: each invocation owns its outputs and sums in a
 * fixed order, which is deterministic, and quick on software adapters, where a barrier costs most.
 */
export function programOf(shader: Shader): WebGPUProgram {
  const constants = Object.entries({ ...shader.constants, INVOCATIONS: shader.invocations });
  return {
    variableNames: Object.keys(shader.inputs),
    variableComponents: Object.values(shader.inputs),
    outputShape: shader.outputShape,
    outputComponent: shader.outputComponents,
    workgroupSize: [WORKGROUP, 1, 1],
    dispatchLayout: { x: shader.outputShape.map((_, axis) => axis) },
    dispatch: [Math.ceil(shader.invocations / WORKGROUP), 1, 1],
    shaderKey: `starling ${shader.name} ${constants.map(([name, value]) => `${name}=${value}`).join(' ')}`,
    getUserCode: () => `
      ${constants.map(([name, value]) => `const ${name} = ${Number.isInteger(value) ? value : `${value}f`};`).join('\n')}
      fn main(index : i32) {
        _ = uniforms.NAN; // tfjs binds its uniforms always; an unused binding would be left out of the layout.
        if (index >= INVOCATIONS) { return; }
        ${shader.code}
      }`,
  };
}

/** Widest element that divides `size`. */
export const componentsFor = (size: number): Components => (size % 4 === 0 ? 4 : size % 2 === 0 ? 2 : 1);

/** WGSL type of an element of so many components. */
export const typeFor = (components: Components) => (components === 1 ? 'f32' : `vec${components}<f32>`);

/** Sum over the components of an element. */
export const sumOf = (components: Components, value: string) => (components === 1 ? value : `dot(${value}, ${typeFor(components)}(1.0))`);
