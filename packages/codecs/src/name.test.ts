import { expect, it } from 'vitest';
import { boundaryName, parseBoundary } from './name.ts';

it.each([
  ['f32', null, 'f32'],
  ['int4', null, 'int4'],
  ['subspace-16', { kind: 'subspace', rank: 16 }, 'f32'],
  ['bottleneck-63+f16', { kind: 'bottleneck', rank: 63 }, 'f16'],
] as const)('%s is read, and named the same again', (name, squeeze, boundary) => {
  const parsed = parseBoundary(name, 64);
  expect(parsed).toEqual({ squeeze, boundary });
  const model = parsed.squeeze ? { squeeze: { ...parsed.squeeze, seed: 1 } } : {};
  expect(boundaryName({ model, boundary: parsed.boundary })).toBe(name);
});

it.each([
  '',
  'f64',
  'subspace',
  'subspace-0',
  'subspace-64',
  'subspace-8+',
  'int8+int8',
  'int8+subspace-8',
  'subspace-8+int8+int4',
  'toString',
])('"%s" is refused', (name) => {
  expect(() => parseBoundary(name, 64)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
