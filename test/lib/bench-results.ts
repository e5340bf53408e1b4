// SPDX-License-Identifier: Apache-2.0
/**
 * Results as the harness leaves them, made of a model instead of measured: every run is
 * its system's factor times the drift of its round times its own noise, all by a seed.
 */
import type {
  BenchResults,
  Experiment,
  FigureFacts,
  Run,
  SystemFacts,
  WorkloadFacts,
} from '../../bench/results.ts';

/** mulberry32 */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Box and Muller */
export function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

export interface Model {
  readonly seed: number;
  readonly rounds?: number;
  readonly quick?: boolean;
  readonly commit?: string;
  /** Spread of a single run, as a share; by default each workload has one of 5 to 15 %. */
  readonly noise?: number;
  /** Of all runs of one round alike. */
  readonly drift?: number;
  /** The host's speed this time, against last time. */
  readonly host?: number;
  /** Added to every round trip of a protected VM. */
  readonly ackSleepUs?: number;
  readonly experiments?: readonly Experiment[];
}

const EPOCHS = [1_000, 10_000, 100_000, 1_000_000];

const stock = (name: string, title: string): SystemFacts => {
  return { name, title, baseline: name === 'plain' ? null : 'plain', verified: false };
};
const ours = (name: string, title = `ours, ${name}`): SystemFacts => {
  return { name, title, baseline: 'plain', verified: true };
};

export const SYSTEMS: readonly SystemFacts[] = [
  stock('plain', 'plain TCG'),
  stock('icount', 'stock -icount'),
  stock('rr-record', 'QEMU rr=record'),
  stock('rr-replay', 'QEMU rr=replay'),
  stock('colo', 'QEMU COLO'),
  ours('record', 'ours, recording'),
  ours('replay', 'ours, replaying'),
  ours('lockstep', 'ours, protected'),
  ...EPOCHS.map((length) => ours(`lockstep-epoch-${length}`)),
  ...['remus', 'kemari-every', 'kemari', 'quorum'].map((name) => ours(name)),
];

const figure = (name: string, unit: string, better: 'more' | 'less'): FigureFacts => ({
  name,
  unit,
  better,
});

export const WORKLOADS: readonly WorkloadFacts[] = [
  {
    name: 'netperf',
    title: 'Netperf',
    figures: [
      figure('TCP_STREAM', 'Mbit/s', 'more'),
      figure('TCP_MAERTS', 'Mbit/s', 'more'),
      figure('TCP_RR', 'trans/s', 'more'),
      figure('UDP_RR', 'trans/s', 'more'),
    ],
  },
  {
    name: 'iozone',
    title: 'IOzone',
    figures: [
      figure('O_SYNC write', 'KB/s', 'more'),
      figure('buffered+fsync write', 'KB/s', 'more'),
      figure('read', 'KB/s', 'more'),
    ],
  },
  { name: 'cpu', title: 'CPU-bound', figures: [figure('MD5', 's', 'less')] },
  { name: 'compile', title: 'Compile (bzip2)', figures: [figure('make', 's', 'less')] },
  {
    name: 'redis',
    title: 'Redis',
    figures: [figure('SET', 'requests/s', 'more'), figure('GET', 'requests/s', 'more')],
  },
  {
    name: 'sql',
    title: 'PostgreSQL (pgbench)',
    figures: [figure('TPC-B', 'trans/s', 'more')],
  },
  { name: 'idle', title: 'Idle', figures: [figure('host CPU', '% of a core', 'less')] },
  { name: 'boot', title: 'Boot', figures: [figure('boot', 's', 'less')] },
];

/** On plain TCG: a rate, or a time. */
const PLAIN: Readonly<Record<string, number>> = {
  boot: 3.1,
  'host CPU': 2.4,
  MD5: 20.1,
  TCP_STREAM: 1510,
  TCP_MAERTS: 633,
  'O_SYNC write': 2470,
  'buffered+fsync write': 29_400,
  read: 310_000,
  make: 62,
  SET: 9100,
  GET: 9900,
  'TPC-B': 212,
};
const ROUND_TRIP_US: Readonly<Record<string, number>> = {
  plain: 202,
  icount: 230,
  'rr-record': 290,
  record: 187,
  lockstep: 341,
};
/** Of a rate; a time is divided by it. */
const SPEED: Readonly<Record<string, number>> = {
  plain: 1,
  icount: 0.42,
  'rr-record': 0.34,
  'rr-replay': 0.17,
  record: 1.08,
  replay: 1.05,
  lockstep: 0.93,
};

function epochOf(system: string): number | null {
  const found = /^lockstep-epoch-(\d+)$/.exec(system);
  return found === null ? null : Number(found[1]);
}

function speedOf(system: string): number {
  const epoch = epochOf(system);
  if (epoch === null) return SPEED[system] ?? 1;
  return 0.93 / (1 + 22_000 / epoch);
}

function ideal(facts: FigureFacts, system: string, sleepUs: number): number {
  const { name, better } = facts;
  const roundTrip =
    (epochOf(system) === null ? (ROUND_TRIP_US[system] ?? 202) : 420) +
    (system.startsWith('lockstep') ? sleepUs : 0);
  if (/_RR$/.test(name)) return 1e6 / roundTrip;
  const speed = speedOf(system);
  const plain = PLAIN[name] ?? 1;
  return better === 'less' ? plain / speed : plain * speed;
}

const NOT_YET = ['remus', 'kemari-every', 'kemari', 'quorum'];
const SERVED = ['netperf', 'redis', 'sql'];

export function absentIn(workload: string, system: string): string | null {
  if (NOT_YET.includes(system)) return `not yet: this version has no protocol "${system}"`;
  if (system === 'colo') return 'this build of QEMU has no colo-compare and no filter-rewriter';
  if (/replay$/.test(system) && SERVED.includes(workload)) return 'a replay serves nobody';
  if (system === 'rr-record' && workload === 'sql') return 'the guest said nothing for 180 s';
  return null;
}

export function fakeResults(model: Model): BenchResults {
  const { seed, rounds = 5, noise, drift = 0.05, host = 1, ackSleepUs = 0 } = model;
  const random = seeded(seed);
  // A workload's noise is its own, the same in every run of the model.
  const kinds = seeded(99);
  const noiseOf = new Map(WORKLOADS.map(({ name }) => [name, noise ?? 0.05 + 0.1 * kinds()]));
  const runs: Run[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const workload of WORKLOADS) {
      // Neighbours in time are slow or fast together.
      const together = Math.exp(drift * normal(random)) * host;
      for (const system of SYSTEMS) {
        if (absentIn(workload.name, system.name) !== null) continue;
        const sigma = noiseOf.get(workload.name) ?? 0.1;
        const values = Object.fromEntries(
          workload.figures.map((facts) => {
            const factor = together * Math.exp(sigma * normal(random));
            const value = ideal(facts, system.name, ackSleepUs);
            return [facts.name, facts.better === 'more' ? value * factor : value / factor];
          }),
        );
        runs.push(runOf(workload.name, system, round, values, random));
      }
    }
  }
  return {
    format: 1,
    id: `20261126-05${String(seed % 100).padStart(2, '0')}00-${model.commit ?? 'c6cf9c2'}`,
    quick: model.quick ?? false,
    rounds,
    started_at: '2026-11-26T05:00:00.000Z',
    seconds: 4980,
    complete: true,
    host: {
      cpu: 'AMD EPYC 7B13',
      cores: 2,
      memory_bytes: 8_353_882_112,
      kernel: '6.1.0-38-cloud-amd64',
      os: 'Debian GNU/Linux 12 (bookworm)',
      node: 'v20.20.0',
      qemu: {
        plain: 'QEMU 10.0.13 (unpatched)',
        record: 'QEMU 10.0.13, build 135d9cb1dacff9c9',
      },
      commit: model.commit ?? 'c6cf9c2',
      dirty: false,
    },
    systems: SYSTEMS,
    workloads: WORKLOADS,
    runs,
    absent: WORKLOADS.flatMap(({ name: workload }) =>
      SYSTEMS.flatMap(({ name: system }) => {
        const why = absentIn(workload, system);
        return why === null ? [] : [{ workload, system, why }];
      }),
    ),
    experiments: model.experiments ?? [],
  };
}

function runOf(
  workload: string,
  system: SystemFacts,
  round: number,
  values: Readonly<Record<string, number>>,
  random: () => number,
): Run {
  const seconds = 14 + random() * 4;
  const instructions = Math.round(9e9 * (0.9 + 0.2 * random()));
  const logs = ['record', 'rr-record'].includes(system.name) || system.name.startsWith('lockstep');
  const busy = SERVED.includes(workload) ? 60 : 1;
  const perThousand = (system.name === 'rr-record' ? 2.7 : 0.008) * busy;
  const epoch = epochOf(system.name);
  const isProtected = system.name.startsWith('lockstep');
  const batches = epoch === null ? seconds * 900 * Math.sqrt(busy) : instructions / epoch;
  return {
    workload,
    system: system.name,
    round,
    started_at: new Date(Date.UTC(2026, 10, 26, 5, round * 16)).toISOString(),
    seconds,
    values,
    facts: {
      ...(logs ? { log_bytes: Math.round((instructions / 1000) * perThousand) } : {}),
      ...(logs ? { instructions } : {}),
      ...(isProtected
        ? {
            batches: Math.round(batches),
            ack_ms_mean: 0.12 + 0.05 * random(),
            lag_ms_p50: 18 + 4 * random(),
            lag_ms_p99: 45 + 20 * random(),
          }
        : {}),
      ...(epoch === null ? {} : { epoch_instructions: epoch }),
    },
    verification: system.verified
      ? { baseline: true, replay: true, disks: isProtected ? true : null }
      : null,
    invalid: null,
  };
}

/** As measured apart: failovers, shaped links, traces of dirtied pages. */
export function fakeExperiments(seed: number): Experiment[] {
  const random = seeded(seed);
  const failovers = Array.from({ length: 40 }, (_, at) => {
    const fault = ['primary', 'backup', 'link'][at % 3] ?? 'primary';
    const stall = (fault === 'link' ? 360 : 42) * Math.exp(0.5 * normal(random));
    return [fault, stall, stall * 0.4, stall * 0.65];
  });
  const bandwidth = [1000, 100].flatMap((mbit) =>
    ['lockstep', 'lockstep-epoch-100000'].flatMap((system) =>
      [
        ['O_SYNC write', 2200],
        ['buffered+fsync write', mbit === 1000 ? 26_000 : 24_000],
      ].map(([figure, rate]) => [
        mbit,
        system,
        figure ?? '',
        Number(rate) * Math.exp(0.05 * normal(random)),
        Number(rate) * 0.004 * (1 + random()),
        410 + 80 * random(),
      ]),
    ),
  );
  const pages = [50, 100, 200, 400, 800, 1600, 3200].map((ms) => [
    ms,
    Math.round(180 * (ms / 50) ** 0.62),
    1.2 + random(),
    3 + 0.02 * 180 * (ms / 50) ** 0.62,
    0.9 + random() * 0.3,
  ]);
  return [
    {
      name: 'failover',
      title: 'Failover',
      columns: ['fault', 'stall_ms', 'detected_ms', 'live_ms'],
      rows: failovers,
      why_not: null,
    },
    {
      name: 'bandwidth',
      title: 'Two bandwidths',
      columns: [
        'link_mbit_s',
        'system',
        'figure',
        'kb_per_s',
        'traffic_kbit_s',
        'bytes_per_batch',
      ],
      rows: bandwidth,
      why_not: null,
    },
    {
      name: 'dirty-pages',
      title: 'Dirtied pages',
      columns: ['run_ms', 'pages', 'suspend_ms', 'checkpoint_ms', 'resume_ms'],
      rows: pages,
      why_not: null,
    },
  ];
}
