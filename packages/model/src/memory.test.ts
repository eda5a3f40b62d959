/** What is told of a stage's memory before it is loaded, against what it then takes. */
import { createKernels, type Tensor } from '@starling/kernels';
import { dawnGpu, nodeWasmPath } from '@starling/kernels/node';
import { boundaryWidth, type ModelShape, type StageSpec } from '@starling/protocol';
import { expect, test } from 'vitest';
import { stageMemory } from './memory.ts';
import { cutStages, presetOf } from './presets.ts';
import { Stage } from './stage.ts';

/** Both gradients are on the device for a moment. */
async function twoMicrobatches(stage: Stage, spec: StageSpec, shape: ModelShape, sequences: number): Promise<void> {
  const { isFirst, isLast } = spec;
  stage.load(new Float32Array(stage.layout.size).fill(0.01));
  const rows = sequences * shape.context;
  const numbers = () => new Float32Array(rows * boundaryWidth(shape));
  const tokens = new Int32Array(rows);
  const work = () => stage.backward(isFirst ? tokens : numbers(), isLast ? tokens : numbers());
  stage.accumulate((await work()).gradient);
  stage.discard((await work()).gradient);
}

test.each(['f32', 'f16'] as const)('on wasm, in %s, the estimate is within a sixth of the peak, for every stage', async (precision) => {
  const kernels = await createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath(), precision });
  const roundings = kernels as unknown as { operand(x: Tensor): Tensor };
  for (const preset of ['nano', 'shakespeare']) {
    const { shape, sequences } = presetOf(preset);
    for (const spec of cutStages(shape, 3)) {
      const before = kernels.memory().bytes;
      let peak = 0;
      const { matmul } = kernels;
      const { operand } = roundings;
      // Every product, and every rounded operand of one, is a moment at which more may be held than at any before.
      const watched = (tensor: Tensor) => {
        peak = Math.max(peak, kernels.memory().bytes - before);
        return tensor;
      };
      kernels.matmul = (...operands) => watched(matmul.apply(kernels, operands));
      roundings.operand = (x) => watched(operand.call(kernels, x));
      const stage = new Stage(kernels, shape, spec, { sequences });
      await twoMicrobatches(stage, spec, shape, sequences);
      stage.dispose();
      Object.assign(kernels, { matmul, operand });
      const ratio = stageMemory(shape, spec, sequences, 'wasm', precision).total / peak;
      expect(ratio, `${preset}, stage ${spec.index}: ${(peak / 1e6).toFixed(1)} MB`).toBeGreaterThan(5 / 6);
      expect(ratio, `${preset}, stage ${spec.index}: ${(peak / 1e6).toFixed(1)} MB`).toBeLessThan(7 / 6);
    }
  }
  kernels.close();
});

const gpu = await dawnGpu();

/** Rotary angles are the device's; beside them, parts of a flat vector begin at multiples of 256 bytes, of which halves have fewer. */
const ROUNDED_UP = { f32: 0.02, f16: 0.03 } as const;

test.skipIf(!gpu).each(['f32', 'f16'] as const)(
  'on WebGPU, in %s, it is what is taken, and little more than what is needed at once',
  async (precision) => {
    const kernels = await createKernels({ backend: 'webgpu', precision, gpu: gpu! });
    for (const preset of ['nano', 'shakespeare', 'mini']) {
      const { shape, sequences } = presetOf(preset);
      for (const spec of cutStages(shape, 3)) {
        const before = kernels.memory().bytes;
        const stage = new Stage(kernels, shape, spec, { sequences });
        const { total, parameters, gradients, workspace } = stageMemory(shape, spec, sequences, 'webgpu', precision);
        expect(stage.workspace.bytes, `${preset}, stage ${spec.index}`).toBe(workspace);
        expect((parameters + gradients + workspace) / (parameters + gradients + stage.workspace.needed)).toBeLessThan(1.2);
        if (preset === 'nano') {
          await twoMicrobatches(stage, spec, shape, sequences);
          expect(Math.abs((kernels.memory().bytes - before) / total - 1)).toBeLessThan(ROUNDED_UP[precision]);
        }
        stage.dispose();
      }
    }
    kernels.close();
  },
);

test('in halves a stage needs less: of its workspace more than a quarter, of a stage of layers alone half the parameters', () => {
  for (const preset of ['nano', 'shakespeare', 'mini']) {
    const { shape, sequences } = presetOf(preset);
    const stages = cutStages(shape, 3);
    for (const spec of stages) {
      const [whole, halves] = (['f32', 'f16'] as const).map((precision) => stageMemory(shape, spec, sequences, 'webgpu', precision));
      expect(halves!.workspace / whole!.workspace, `${preset}, stage ${spec.index}`).toBeLessThan(0.75);
      expect(halves!.gradients).toBe(whole!.gradients);
    }
    const [whole, halves] = (['f32', 'f16'] as const).map((precision) => stageMemory(shape, stages[1]!, sequences, 'webgpu', precision));
    expect(halves!.parameters / whole!.parameters).toBeLessThan(0.51); // gains stay whole
    // Elsewhere what is rounded lies as float32, too.
    expect(stageMemory(shape, stages[1]!, sequences, 'wasm', 'f16')).toEqual(stageMemory(shape, stages[1]!, sequences, 'wasm'));
  }
});
