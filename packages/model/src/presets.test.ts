import { readFileSync } from 'node:fs';
import { createKernels } from '@starling/kernels';
import { nodeWasmPath } from '@starling/kernels/node';
import type { Backend } from '@starling/protocol';
import { expect, test } from 'vitest';
import { initialParameters } from './initial.ts';
import { layoutOf } from './layout.ts';
import { stageMemory } from './memory.ts';
import { cutStages, PRESET_NAMES, presetOf } from './presets.ts';
import { Stage } from './stage.ts';

const README = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');

test.each(PRESET_NAMES)('README tells the size of %s, and what a stage of it takes', (name) => {
  const { shape, sequences } = presetOf(name);
  const parameters = layoutOf(shape, cutStages(shape, 1)[0]!).size;
  const memory = (backend: Backend) => Math.max(...cutStages(shape, 4).map((spec) => stageMemory(shape, spec, sequences, backend).total));
  const [webgpu, wasm] = [memory('webgpu') / 2 ** 20, memory('wasm') / 2 ** 20];
  const told = wasm < 1 ? 'below 1 MiB' : `${Math.round(webgpu)} MiB, ${Math.round(wasm)} MiB`;
  const row = `| \`${name}\` | ${parameters.toLocaleString('en')} | ${shape.context} | 1 to ${shape.layers} | ${told} |`;
  expect(README).toContain(row);
});

test.each(PRESET_NAMES)('WebAssembly has every kernel that %s needs', async (name) => {
  // All layers compute alike.
  const shape = { ...presetOf(name).shape, layers: 1 };
  const [whole] = cutStages(shape, 1);
  const kernels = await createKernels({ backend: 'wasm', wasmPaths: nodeWasmPath() });
  const stage = new Stage(kernels, shape, whole!, { sequences: 1 });
  stage.load(initialParameters(shape, whole!, 1));
  const text = Int32Array.from({ length: shape.context + 1 }, (_, i) => (i * 37) % shape.vocabulary);
  const { lossSum, gradient } = await stage.backward(text.subarray(0, -1), text.subarray(1));
  expect(Math.abs(lossSum! / shape.context - Math.log(shape.vocabulary)), 'a model that knows nothing yet').toBeLessThan(0.3);
  stage.accumulate(gradient);
  expect((await stage.takeGradient()).every(Number.isFinite)).toBe(true);
  stage.dispose();
  kernels.close();
});
