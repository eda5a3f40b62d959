/** The limits in use: what `npm run calibrate` wrote last. */
import type { Thresholds } from './limits.ts';
import measured from './thresholds.json' with { type: 'json' };

export const THRESHOLDS = measured as unknown as Thresholds;
