/** `npm run bench -- NAME [--json]`. */
import { coordinator } from './coordinator.ts';
import { print, type Report } from './report.ts';
import { swarm } from './swarm.ts';

const BENCHMARKS: Record<string, () => Promise<Report>> = { coordinator, swarm };

const names = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const name = names[0] ?? '';
if (names.length !== 1 || !Object.hasOwn(BENCHMARKS, name)) {
  console.error(`Usage: npm run bench -- ${Object.keys(BENCHMARKS).join('|')} [--json]`);
  process.exit(1);
}
const report = await BENCHMARKS[name]!();
if (process.argv.includes('--json')) console.log(JSON.stringify(report, null, 2));
else print(report);
