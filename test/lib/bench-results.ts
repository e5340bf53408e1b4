// SPDX-License-Identifier: Apache-2.0
/**
 * Results as the harness leaves them, made of a model instead of measured: every run is
 * its system's factor times the drift of its round times its own noise, all by a seed.
 */
import { EXPERIMENTS } from '../../bench/experiments/registry.ts';
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
  /** Drift that all runs of one round share. */
  readonly drift?: number;
  /** The host's speed this time, against last time. */
  readonly host?: number;
  /** Added to every round trip of a protected VM. */
  readonly ackSleepUs?: number;
}

const COMMIT = 'c6cf9c2f0a5d3e7b1c4a98d6e2f7a0b3c5d8e1f4';
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
/** Factor of a rate; a time is divided by it. */
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
    id: `20261126-05${String(seed % 100).padStart(2, '0')}00-${(model.commit ?? COMMIT).slice(0, 10)}`,
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
        ours: 'qemu-system-x86_64 10.0.13, build 135d9cb1dacff9c9',
        unpatched: 'qemu-system-x86_64 10.0.13',
      },
      commit: model.commit ?? COMMIT,
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
    experiments: [],
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
  const batches = Math.round(
    epoch === null ? seconds * 900 * Math.sqrt(busy) : instructions / epoch,
  );
  const bytes = Math.round((instructions / 1000) * perThousand);
  return {
    workload,
    system: system.name,
    round,
    started_at: new Date(Date.UTC(2026, 10, 26, 5, round * 16)).toISOString(),
    seconds,
    values,
    facts: {
      ...(logs ? { log_bytes: bytes } : {}),
      // QEMU's own does not tell.
      ...(logs && system.name !== 'rr-record' ? { instructions } : {}),
      ...(isProtected
        ? {
            batches,
            log_bytes_per_s: bytes / seconds,
            epochs: batches,
            epochs_per_s: batches / seconds,
            epoch_bytes_mean: bytes / batches,
            epoch_ack_mean_us: 120 + 50 * random(),
            lag_p50_ms: 18 + 4 * random(),
            lag_p99_ms: 45 + 20 * random(),
            lag_max_ms: 80 + 20 * random(),
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

/** As measured apart: failovers, shaped links, checkpoints, and what is made of the runs. */
export function fakeExperiments(results: BenchResults): Experiment[] {
  const random = seeded(3);
  const failovers = Array.from({ length: 30 }, (_, at) => {
    const stall = 42 * Math.exp(0.6 * normal(random));
    return [1000 + at, stall, stall * 0.4, stall * 0.65, 1.2, 6 + 4 * random(), 0];
  });
  const bandwidth = ['netperf', 'iozone'].flatMap((name) => {
    const figures = WORKLOADS.find((one) => one.name === name)?.figures ?? [];
    const links = [null, 1000, 100];
    const kinds = [
      { system: 'plain', link: null },
      ...links.map((link) => ({ system: 'lockstep', link })),
    ];
    return kinds.flatMap(({ system, link }) =>
      figures.map((facts) => {
        const value = ideal(facts, system, 0) * Math.exp(0.05 * normal(random));
        const share = link === 100 && name === 'netperf' ? 0.3 : 1;
        const log = name === 'netperf' ? Math.min(190, link ?? 190) : 0.9;
        return [
          name,
          facts.name,
          facts.unit,
          system,
          link,
          value * share,
          system === 'plain' ? null : log,
        ];
      }),
    );
  });
  const pages = ['cpu', 'iozone'].flatMap((workload) =>
    [50, 100, 250, 500, 1000, 2000].map((ms) => {
      const count = Math.round((workload === 'cpu' ? 60 : 180) * (ms / 50) ** 0.62);
      const pause = 3.3 + count * 0.002;
      return [
        workload,
        ms,
        ms * 1.03,
        Math.round(9000 / ms),
        count,
        count * 4200,
        pause,
        pause * 3,
      ];
    }),
  );
  const density = results.runs
    .filter(({ system }) => system === 'record' || system === 'rr-record')
    .map(({ workload, round, system, facts }) => {
      const bytes = facts.log_bytes ?? 0;
      const instructions = 9e9;
      return [workload, round, system, bytes, instructions, (1000 * bytes) / instructions];
    });
  // In the columns that the harness has now: another order here would show at once.
  const rows = { failover: failovers, bandwidth, 'dirty-pages': pages, 'log-density': density };
  return EXPERIMENTS.map(({ name, title, columns }) => {
    const of = rows[name as keyof typeof rows];
    if (of.some((row) => row.length !== columns.length)) throw new Error(`columns of ${name}`);
    return { name, title, columns, rows: of, why_not: null };
  });
}

/** Everything that a full run leaves. */
export function fullResults(model: Model): BenchResults {
  const results = fakeResults(model);
  return { ...results, experiments: fakeExperiments(results) };
}
