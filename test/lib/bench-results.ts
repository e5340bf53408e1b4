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
} from '../../bench/results.ts';
import { normal, SYSTEMS, seeded, WORKLOADS } from './bench-model.ts';

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
const CUTTING = /^(remus|kemari)/;

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
  remus: 1900,
  'kemari-every': 4100,
  kemari: 1600,
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
  remus: 0.9,
  'remus-10hz': 0.96,
  'remus-20hz': 0.93,
  'remus-30hz': 0.9,
  'remus-40hz': 0.87,
  'kemari-every': 0.2,
  kemari: 0.55,
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
    (/^(lockstep|remus|kemari)/.test(system) ? sleepUs : 0);
  if (/_RR$/.test(name)) return 1e6 / roundTrip;
  const speed = speedOf(system);
  const plain = PLAIN[name] ?? 1;
  return better === 'less' ? plain / speed : plain * speed;
}

const NOT_YET = ['kemari-io-log', 'quorum'];
const SERVED = ['netperf', 'redis', 'sql'];

export function absentIn(workload: string, system: string): string | null {
  if (NOT_YET.includes(system)) return `not yet: this version has no protocol "${system}"`;
  if (/^remus-/.test(system) && workload !== 'compile') return 'compared on compile only';
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
  const isCut = CUTTING.test(system.name);
  const isProtected = isCut || system.name.startsWith('lockstep');
  const logs = ['record', 'rr-record'].includes(system.name) || isProtected;
  const busy = SERVED.includes(workload) ? 60 : 1;
  const perThousand = (system.name === 'rr-record' ? 2.7 : 0.008) * busy;
  const epoch = epochOf(system.name);
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
      ...(isCut ? cutFacts(workload, random) : {}),
    },
    verification: system.verified
      ? {
          baseline: true,
          replay: isCut ? null : true,
          disks: isProtected ? true : null,
          ...(isCut ? { image: true } : {}),
        }
      : null,
    invalid: null,
  };
}

/** As the sampler has them of a pair that cuts epochs: of all of a run, and of its figures. */
function cutFacts(workload: string, random: () => number): Record<string, number> {
  const during = {
    epochs_per_s: 300 + 900 * random(),
    epoch_link_bytes_mean: 4e4 + 4e4 * random(),
    link_bytes_per_s: 2e7,
    epoch_ack_mean_us: 300 + 900 * random(),
    cut_pages_mean: 40 + 400 * random(),
    cut_pause_mean_ms: 0.3 + random(),
    net_out_cuts_per_s: 200 * random(),
    disk_write_cuts_per_s: 200 * random(),
    timer_cuts_per_s: 20,
  };
  const figures = WORKLOADS.find(({ name }) => name === workload)?.figures ?? [];
  const parts = figures.flatMap(({ name }) =>
    Object.entries(during).map(([fact, value]) => [`${name}: ${fact}`, value] as const),
  );
  const pauses = { cut_pause_p99_ms: 3 + random(), cut_pause_max_ms: 9 + random() };
  return { ...during, ...Object.fromEntries(parts), ...pauses };
}

/** As measured apart: failovers, shaped links, checkpoints, and what is made of the runs. */
export function fakeExperiments(results: BenchResults): Experiment[] {
  const random = seeded(3);
  const failovers = Array.from({ length: 30 }, (_, at) =>
    ['lockstep', 'remus'].map((protocol) => {
      const stall = 42 * Math.exp(0.6 * normal(random));
      return [1000 + at, stall, stall * 0.4, stall * 0.65, 1.2, 6 + 4 * random(), 0, protocol];
    }),
  ).flat();
  const bandwidth = ['netperf', 'iozone'].flatMap((name) => {
    const figures = WORKLOADS.find((one) => one.name === name)?.figures ?? [];
    const links = [null, 1000, 100];
    const pairs = ['lockstep', ...(name === 'iozone' ? ['kemari', 'kemari-io-log'] : [])];
    const kinds = [
      { system: 'plain', link: null },
      ...pairs.flatMap((system) => links.map((link) => ({ system, link }))),
    ];
    return kinds.flatMap(({ system, link }) =>
      figures.map((facts) => {
        const why = absentIn(name, system);
        const place = [name, facts.name, facts.unit, system, link];
        if (why !== null) return [...place, ...Array.from({ length: 6 }, () => null), why];
        const value = ideal(facts, system, 0) * Math.exp(0.05 * normal(random));
        const share = link === 100 && name === 'netperf' ? 0.3 : 1;
        const log = name === 'netperf' ? Math.min(190, link ?? 190) : 0.9;
        const isPair = system !== 'plain';
        const carried = isPair ? [log, log * 1.1, 900, 4800, null] : [null, null, null, null, null];
        return [...place, value * share, ...carried, null];
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
  const epochs = ['compile', 'iozone'].flatMap((workload) =>
    [25, 50, 100, 250, 500, 1000].map((ms) => {
      const count = Math.round((workload === 'compile' ? 300 : 180) * (ms / 50) ** 0.5);
      return [workload, ms, ms * 1.02, Math.round(5000 / ms), count, count * 900, 1.1, 4.2, 3.3];
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
  const rows = {
    failover: failovers,
    bandwidth,
    'dirty-pages': pages,
    epochs,
    'log-density': density,
  };
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
