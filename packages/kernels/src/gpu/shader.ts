/** Compute shaders as data: what they bind, and WGSL that is the same text for the same shapes, so that caches hit. */
import { nearestHalf, packHalves, unpackHalves } from './half.ts';
import type { HalfFormat, Value } from './value.ts';

export type Element = 'f32' | 'vec2<f32>' | 'vec4<f32>' | 'i32';

/** Four halves, as each format has them. */
const FOUR_HALVES: Readonly<Record<HalfFormat, string>> = { f16: 'vec4<f16>', packed: 'vec2<u32>' };

export interface Binding {
  value: Value;
  element: string;
  write: boolean;
  /** Read only rounded to halves, and read and written only four at a time: it may lie as halves. */
  halvable: boolean;
}

export interface Shader {
  code: string;
  bindings: readonly Binding[];
  /** Workgroups along x and y; a workgroup's number is y · x-count + x. */
  groups: readonly [x: number, y: number];
}

/** Part of a shader: as many workgroups of its own, and what each of their invocations does, given `group` and `lane`. */
export interface Job {
  groups: number;
  code: string;
}

/** A dispatch, and the ways to compute it. All bind the same values. */
export interface Step {
  /** Operation and sizes: the same for whatever computes the same. */
  label: string;
  /** Multiplications and additions; absent: few, it only moves numbers. */
  flops?: number;
  variants: readonly Variant[];
}

export interface Variant {
  name: string;
  /** `own`: every invocation for itself. `quad`: four share what they read, by subgroup operations. `shared`: a workgroup, by its memory. */
  kind: 'own' | 'quad' | 'shared';
  build(): Shader;
}

/** Invocations of a workgroup where nothing asks for another number. */
export const WORKGROUP = 64;
/** WebGPU's own limit, which every device has. */
const MOST_GROUPS = 65_535;

/** Collects what a shader binds and declares. A name stands for one value with one type of element. */
export class Scope {
  readonly bindings: Binding[] = [];
  private readonly declared = new Set<string>();
  private usesQuads = false;

  /** An array of what lies in four bytes. */
  read(value: Value, element: Element): string {
    return this.bind(value, element, false, false);
  }

  /** For reading, too. */
  write(value: Value, element: Element): string {
    return this.bind(value, element, true, false);
  }

  /** How its element `at` is read, however it lies; rounded where the value says so. */
  load(value: Value, element: Element): (at: string) => string {
    const { halves } = value.storage;
    const name = this.bind(value, element, false, value.rounded && element === 'vec4<f32>');
    const unpack = halves && unpackHalves(this, halves);
    if (unpack) return (at) => unpack(`${name}[${at}]`);
    const round = value.rounded ? nearestHalf(this, element) : (x: string) => x;
    return (at) => round(`${name}[${at}]`);
  }

  /** How its element `at` is written, however it lies. */
  store(value: Value, element: Element): (at: string, stored: string) => string {
    const { halves } = value.storage;
    const name = this.bind(value, element, true, element === 'vec4<f32>');
    const pack = halves ? packHalves(this, halves) : (x: string) => x;
    return (at, stored) => `${name}[${at}] = ${pack(stored)};`;
  }

  /** A function or variable of the module; once is enough. */
  declare(code: string): void {
    this.declared.add(code.trim());
  }

  /**
   * What lane `lane` of the four that run together holds. All four must be there, which is for the caller to see to: whether whole quads
   * take the same way is more than a compiler can tell.
   */
  fromQuad(value: string, lane: number): string {
    this.usesQuads = true;
    return `quadBroadcast(${value}, ${lane}u)`;
  }

  shader(jobs: readonly Job[], workgroup = WORKGROUP): Shader {
    const total = jobs.reduce((sum, { groups }) => sum + groups, 0);
    const x = Math.min(total, MOST_GROUPS);
    let before = 0;
    const calls = jobs.map(({ groups }, i) => {
      before += groups;
      return `if (group < ${before}) { job${i}(group - ${before - groups}, i32(index)); return; }`;
    });
    const code = [
      ...(this.bindings.some(({ element }) => element === FOUR_HALVES.f16) ? ['enable f16;'] : []),
      ...(this.usesQuads ? ['enable subgroups;', 'diagnostic(off, subgroup_uniformity);'] : []),
      ...this.bindings.map(
        ({ element, write }, i) =>
          `@group(0) @binding(${i}) var<storage, ${write ? 'read_write' : 'read'}> memory${i} : array<${element}>;`,
      ),
      ...this.declared,
      ...jobs.map((job, i) => `fn job${i}(group : i32, lane : i32) {\n${job.code}\n}`),
      `@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) id : vec3<u32>, @builtin(local_invocation_index) index : u32) {
let group = i32(id.y * ${x}u + id.x);
${calls.join('\n')}
}`,
    ].join('\n');
    return {
      code: code.replaceAll(/^[ \t]+|[ \t]+$/gm, '').replaceAll(/\n+/g, '\n'),
      bindings: this.bindings,
      groups: [x, Math.ceil(total / x)],
    };
  }

  private bind(value: Value, wanted: Element, write: boolean, halvable: boolean): string {
    const { storage, start } = value;
    if (storage.halves && !halvable) throw new RangeError('Halves are read rounded, and read and written by fours.');
    const element = storage.halves ? FOUR_HALVES[storage.halves] : wanted;
    let at = this.bindings.findIndex(
      (known) => known.value.storage === storage && known.value.start === start && known.element === element,
    );
    if (at < 0) at = this.bindings.push({ value, element, write, halvable }) - 1;
    const binding = this.bindings[at]!;
    binding.write ||= write;
    binding.halvable &&= halvable;
    return `memory${at}`;
  }
}

/** A shader of one job with `count` invocations that have work; `code` knows each by `index`. */
export function perInvocation(count: number, write: (scope: Scope) => string): Shader {
  const scope = new Scope();
  return scope.shader([invocations(count, write(scope))]);
}

/** `code` knows each of `count` invocations by `index`, and may return. */
export function invocations(count: number, code: string): Job {
  return {
    groups: Math.ceil(count / WORKGROUP),
    code: `let index = group * ${WORKGROUP} + lane;\nif (index >= ${count}) { return; }\n${code}`,
  };
}

export type Components = 1 | 2 | 4;

/** Widest element that divides `size`. */
export const componentsFor = (size: number): Components => (size % 4 === 0 ? 4 : size % 2 === 0 ? 2 : 1);

export const elementOf = (components: Components): Element => (components === 1 ? 'f32' : `vec${components}<f32>`);

/** Sum over the components of an element. */
export const sumOf = (components: Components, value: string) => (components === 1 ? value : `dot(${value}, ${elementOf(components)}(1.0))`);

export const dot = (components: Components, a: string, b: string) => (components === 1 ? `${a} * ${b}` : `dot(${a}, ${b})`);

/** `count` lines. */
export const each = (count: number, line: (i: number) => string) => Array.from({ length: count }, (_, i) => line(i)).join('\n');

/** A number in WGSL that is read as f32. */
export const float = (value: number) => (Number.isInteger(value) ? `${value}.0` : `${value}f`);
