import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkTree, violations } from './arrows.ts';

describe('arrows between packages', () => {
  it('hold in this tree', () => {
    expect(checkTree(resolve(import.meta.dirname, '..'))).toEqual([]);
  });

  it('are seen when broken', () => {
    expect(violations('packages/protocol/src/a.ts', "import { x } from '@starling/model';")).toHaveLength(1);
    expect(violations('packages/model/src/a.ts', "import { x } from '../../coordinator/src/index.ts';")).toHaveLength(1);
    expect(violations('server/src/a.ts', "const k = await import('@starling/kernels');")).toHaveLength(1);
    expect(violations('packages/coordinator/src/a.ts', 'const now = Date.now();')).toHaveLength(1);
    expect(violations('packages/kernels/src/a.ts', 'tensor.dataSync();')).toHaveLength(1);
    expect(violations('packages/model/src/a.ts', "import type { Kernels } from '@starling/kernels';")).toEqual([]);
  });
});
