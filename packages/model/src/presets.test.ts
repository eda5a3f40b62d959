import { readFileSync } from 'node:fs';
import type { Backend } from '@starling/protocol';
import { expect, test } from 'vitest';
import { layoutOf } from './layout.ts';
import { stageMemory } from './memory.ts';
import { cutStages, PRESET_NAMES, presetOf } from './presets.ts';

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
