/** Ticks of an axis from 0 to no less than `highest`, about four, in whole steps that people count in: 1, 2 or 5, or tens of them. */
export function wholeTicks(highest: number): number[] {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(highest / 4)));
  const step = unit * [1, 2, 5, 10].find((mantissa) => mantissa * unit >= highest / 4)!;
  return Array.from({ length: Math.max(1, Math.ceil(highest / step)) + 1 }, (_, i) => i * step);
}
