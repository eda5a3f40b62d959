/** Programs where nothing is recorded: every run does its operations one by one. */
import type { Definition, Kept, Kernels, Programs, Run, Tensor, Variables } from './kernels.ts';

const sizeOf = (shape: readonly number[]) => shape.reduce((n, axis) => n * axis, 1);

export class EagerVariables implements Variables {
  tensors: Tensor[] = [];
  private readonly kernels: Kernels;
  private readonly shapes: readonly (readonly number[])[];

  constructor(kernels: Kernels, shapes: readonly (readonly number[])[]) {
    this.kernels = kernels;
    this.shapes = shapes;
  }

  write(values: Float32Array): void {
    this.dispose();
    let at = 0;
    this.tensors = this.shapes.map((shape) => {
      const tensor = this.kernels.upload(values.subarray(at, at + sizeOf(shape)), shape);
      at += sizeOf(shape);
      return tensor;
    });
  }

  dispose(): void {
    this.kernels.dispose(...this.tensors);
    this.tensors = [];
  }
}

interface EagerKept extends Kept {
  tensors: readonly Tensor[];
}

export class EagerPrograms implements Programs {
  readonly workspace = { bytes: 0, needed: 0 };
  private readonly kernels: Kernels;
  private readonly definitions: Readonly<Record<string, Definition>>;

  constructor(kernels: Kernels, definitions: Readonly<Record<string, Definition>>) {
    this.kernels = kernels;
    this.definitions = definitions;
  }

  async prepare(): Promise<void> {}

  async run(name: string, inputs: Record<string, Float32Array | Int32Array>): Promise<Run> {
    const { kernels } = this;
    const definition = this.definitions[name]!;
    const { results, kept } = kernels.scope(() => {
      const tensors = Object.entries(definition.inputs).map(
        ([input, { shape }]) => [input, kernels.upload(inputs[input]!, shape)] as const,
      );
      return definition.body(kernels, Object.fromEntries(tensors));
    });
    try {
      const read = Object.entries(results).map(async ([result, tensor]) => [result, await kernels.download(tensor)] as const);
      return { results: Object.fromEntries(await Promise.all(read)), kept: kept ? this.keep(kept) : null };
    } catch (error) {
      kernels.dispose(...(kept ?? []));
      throw error;
    } finally {
      kernels.dispose(...Object.values(results));
    }
  }

  accumulate(sum: Kept, more: Kept): void {
    const [into, from] = [sum as EagerKept, more as EagerKept];
    const before = into.tensors;
    into.tensors = before.map((tensor, i) => this.kernels.add(tensor, from.tensors[i]!));
    this.kernels.dispose(...before, ...from.tensors);
  }

  async read(kept: Kept): Promise<Float32Array<ArrayBuffer>> {
    const { tensors } = kept as EagerKept;
    try {
      const parts = await Promise.all(tensors.map((tensor) => this.kernels.download(tensor)));
      const flat = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
      let at = 0;
      for (const part of parts) {
        flat.set(part, at);
        at += part.length;
      }
      return flat;
    } finally {
      this.kernels.dispose(...tensors);
    }
  }

  release(kept: Kept): void {
    this.kernels.dispose(...(kept as EagerKept).tensors);
  }

  dispose(): void {}

  private keep(tensors: readonly Tensor[]): EagerKept {
    return { size: tensors.reduce((n, { shape }) => n + sizeOf(shape), 0), tensors };
  }
}
