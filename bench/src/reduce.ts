/**
 * The butterfly all-reduce, by driving the real state machine with real gradients' sizes, encodings and hashes: which shards survive
 * when reducers fail, and what a miner sends and fetches, beside what other schemes would.
 */
import { cutStages, layoutOf, presetOf } from '@starling/model';
import { type ButterflyConfig, CODECS, type CodecName, pairsOf, seedsOf } from '@starling/reduce';
import { type Behaviour, Draw, SOUND, type Traffic, VirtualMerge } from '@starling/reduce/testing';
import { environment, type Report, type Row } from './report.ts';

const PRESET = 'shakespeare';
const STAGES = 4;
const MEMBERS = 20;
/** Merges for each share of failed reducers. */
const SEEDS = 10;
const FAILED = [0, 0.1, 0.2, 0.35, 0.5, 0.7];
const SIZES = [2, 5, 10, 20, 50];
const KIB = 1024;

function configOf(members: number, codec: CodecName): ButterflyConfig {
  const { shape } = presetOf(PRESET);
  return {
    ...{ stage: 1, version: 0, parameters: layoutOf(shape, cutStages(shape, STAGES)[1]!).size, codec, merged: 'bf16' },
    ...{ clip: null, spotCheck: 0, excludeLiars: true, redraws: MEMBERS },
    shards: pairsOf(members),
    members: Array.from({ length: members }, (_, i) => ({ id: `m${i}`, tokens: 64 })),
    deadlines: { commit: 5_000, upload: 5_000, reduce: 5_000 },
  };
}

async function merge(config: ButterflyConfig, seed: number, behave: (member: number, draw: Draw) => Behaviour): Promise<VirtualMerge> {
  const draw = new Draw((await seedsOf(`${seed}`, '')).seed);
  const vector = () => Float32Array.from({ length: config.parameters }, () => draw.word() / 2 ** 31 - 1);
  const behaviours = config.members.map((_, i) => behave(i, draw));
  const world = new VirtualMerge(config, config.members.map(vector), behaviours, draw);
  await world.run();
  if (world.machine.phase !== 'done') throw new Error(`The merge of seed ${seed} is ${world.machine.phase}.`);
  return world;
}

/** Reducers fail when everything is uploaded, before any has reduced: half of them silently. */
async function survival(failed: number): Promise<Row[]> {
  const count = Math.round(failed * MEMBERS);
  let shards = 0;
  let byPair = 0;
  let byMembers = 0;
  let settled = 0;
  let longest = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    let failing: Set<number> | null = null;
    const world = await merge(configOf(MEMBERS, 'int8'), seed, (member, draw) => {
      failing ??= new Set(draw.order(MEMBERS).slice(0, count));
      return { ...SOUND, reduces: !failing.has(member) ? 'soundly' : member % 2 === 0 ? 'silently' : 'leaves' };
    });
    const recomputed = world.log.filter(({ type }) => type === 'recompute').length;
    const { shards: records } = world.machine.view;
    shards += records.length;
    byPair += records.filter(({ pair }) => pair.some((member) => !failing!.has(member))).length;
    byMembers += records.length - recomputed;
    settled += records.filter((record) => record.settled !== null).length;
    longest = Math.max(longest, world.now);
  }
  const name = `${(100 * failed).toFixed(0)} % of ${MEMBERS} reducers failed`;
  const percent = (part: number) => (100 * part) / shards;
  const against = `${name}: 1 − p²`;
  return [
    { metric: against, value: 100 * (1 - failed * failed), unit: '% of shards' },
    { metric: `${name}: fixed pairs, one of two is left`, value: percent(byPair), unit: '% of shards' },
    {
      metric: `${name}: ours, two members agree`,
      value: percent(byMembers),
      unit: '% of shards',
      against: '1 − p²',
      ratio: byMembers / shards / (1 - failed * failed),
    },
    { metric: `${name}: ours, with the orchestrator`, value: percent(settled), unit: '% of shards' },
    { metric: `${name}: longest merge`, value: longest / 1000, unit: 'virtual s' },
  ];
}

const total = ({ up, down }: Traffic) => up + down;

/** What the busiest member of `members` moves, and what it would elsewhere, at the same encodings. */
async function bytes(members: number, codec: CodecName): Promise<Row[]> {
  const config = configOf(members, codec);
  const world = await merge(config, 1, () => SOUND);
  for (const member of world.members) await world.download(member);
  const busiest = world.members.map(({ traffic }) => traffic).reduce((most, traffic) => (total(traffic) > total(most) ? traffic : most));
  const sent = CODECS[codec].size(config.parameters);
  const merged = CODECS[config.merged].size(config.parameters);
  const name = `${codec}, ${members} members`;
  const ours = total(busiest);
  // A ring passes 2(n − 1)/n of the vector up, and as much down; sums are no longer what a contribution was, so they go merged.
  const ring = (4 * (members - 1) * merged) / members;
  const server = members * (sent + merged);
  const store = world.members.reduce((sum, { traffic }) => sum + total(traffic), 0);
  return [
    { metric: `${name}: sent by a miner`, value: busiest.up / KIB, unit: 'KiB' },
    { metric: `${name}: fetched by a miner`, value: busiest.down / KIB, unit: 'KiB' },
    { metric: `${name}: of these, hashes`, value: busiest.hashes / KIB, unit: 'KiB' },
    { metric: `${name}: both ways`, value: ours / KIB, unit: 'KiB', against: 'a ring', ratio: ours / ring },
    { metric: `${name}: ring, both ways`, value: ring / KIB, unit: 'KiB' },
    { metric: `${name}: parameter server, a miner, both ways`, value: (sent + merged) / KIB, unit: 'KiB' },
    {
      metric: `${name}: parameter server, the server, both ways`,
      value: server / KIB,
      unit: 'KiB',
      against: 'our miner',
      ratio: server / ours,
    },
    {
      metric: `${name}: our store, both ways`,
      value: store / KIB,
      unit: 'KiB',
      against: 'a parameter server',
      ratio: store / server,
    },
  ];
}

export async function reduce(): Promise<Report> {
  const rows: Row[] = [];
  for (const failed of FAILED) rows.push(...(await survival(failed)));
  for (const codec of ['f32', 'int8', 'topk2bit'] as const) for (const members of SIZES) rows.push(...(await bytes(members, codec)));
  const { parameters } = configOf(1, 'int8');
  return { name: 'reduce', environment: { ...environment(), preset: PRESET, parameters }, rows };
}
