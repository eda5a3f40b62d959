/** The one form of every benchmark's result, for people and for programs. */
import { cpus } from 'node:os';

export interface Row {
  metric: string;
  value: number;
  unit: string;
  /** Metric of the same run that `value` is divided by to give `ratio`. */
  against?: string;
  ratio?: number;
}

export interface Report {
  name: string;
  environment: Record<string, string | number>;
  rows: Row[];
}

export function environment(): Report['environment'] {
  const cores = cpus();
  return { node: process.version, platform: `${process.platform} ${process.arch}`, cpu: cores[0]?.model ?? 'unknown', cores: cores.length };
}

const written = (value: number) => value.toFixed(Number.isInteger(value) ? 0 : Math.abs(value) < 10 ? 3 : 1);

export function print({ name, environment: machine, rows }: Report): void {
  console.log(`${name} on ${Object.values(machine).join(', ')}`);
  const width = Math.max(...rows.map(({ metric }) => metric.length));
  for (const { metric, value, unit, against, ratio } of rows) {
    const compared = ratio === undefined ? '' : `  ${written(ratio)} × ${against}`;
    console.log(`  ${metric.padEnd(width)}  ${written(value).padStart(9)} ${unit}${compared}`);
  }
}
