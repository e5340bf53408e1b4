// SPDX-License-Identifier: Apache-2.0
/** The benchmark harness without a VM: plans, order, what counts, what is left on disk. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { conduct } from '../../bench/experiments/experiment.ts';
import type { Run } from '../../bench/results.ts';
import {
  cellsOf,
  Estimate,
  estimateS,
  makePlan,
  planText,
  type Wanted,
} from '../../bench/run/plan.ts';
import { listing } from '../../bench/run/registries.ts';
import { Runner, type Watcher } from '../../bench/run/runner.ts';
import { makeResultsDir, ResultsStore, readResults, resultsId } from '../../bench/run/store.ts';
import { Summary } from '../../bench/summary.ts';
import type { Harvest, RunningVm, System } from '../../bench/systems/system.ts';
import { NOTHING } from '../../bench/systems/system.ts';
import { rates } from '../../bench/workloads/redis.ts';
import { transactions } from '../../bench/workloads/sql.ts';
import type { Workload } from '../../bench/workloads/workload.ts';
import { UnderstudyError } from '../../src/base/errors.ts';

const bench = suite('bench');

interface Fake {
  readonly name: string;
  readonly baseline?: string;
  readonly verified?: true;
  readonly replays?: string;
  readonly only?: readonly string[];
  readonly harvest?: Partial<Harvest>;
  readonly fails?: string;
  readonly hangs?: true;
}

/** Names of systems in the order in which they were started. */
let started: string[] = [];

function fakeVm(hangs: boolean, fails: string | undefined): RunningVm {
  const never = new Promise<never>(() => {});
  const ended =
    fails === undefined ? (hangs ? never : Promise.resolve()) : Promise.reject(new Error(fails));
  ended.catch(() => {});
  return {
    prefix: [],
    guestAddress: '',
    startedMs: performance.now(),
    console: () => 'the last words',
    said: () => (hangs ? never : Promise.resolve(0)),
    pids: () => [],
    ended,
    close: async () => {},
  };
}

function system(fake: Fake): System {
  return {
    name: fake.name,
    title: fake.name,
    baseline: fake.baseline ?? null,
    verified: fake.verified ?? false,
    replays: fake.replays ?? null,
    ...(fake.only === undefined
      ? {}
      : { only: { workloads: fake.only, why: 'compared there only' } }),
    absent: async () => null,
    async start() {
      started.push(fake.name);
      return fakeVm(fake.hangs === true, fake.fails);
    },
    harvest: async () => ({ ...NOTHING, ...fake.harvest }),
  };
}

function workload(name: string, served = false): Workload {
  return {
    name,
    title: name,
    figures: [{ name: 'rate', unit: '1/s', better: 'more' }],
    served,
    seconds: { quick: 1, full: 10 },
    prepare: async () => ({ words: '', initrd: '', disk: '' }),
    async measure(vm) {
      await vm.said('ready');
      return { values: { rate: 5 } };
    },
  };
}

const SYSTEMS: Fake[] = [
  { name: 'plain' },
  { name: 'rr-record', baseline: 'plain' },
  { name: 'rr-replay', baseline: 'plain', replays: 'rr-record' },
  { name: 'record', baseline: 'plain', verified: true, harvest: { facts: { instructions: 7 } } },
  {
    name: 'replay',
    baseline: 'plain',
    verified: true,
    replays: 'record',
    harvest: { verification: { replay: true, disks: true } },
  },
  {
    name: 'lockstep',
    baseline: 'plain',
    verified: true,
    harvest: { verification: { replay: true, disks: true } },
  },
];

const WANTED: Wanted = { names: [], systems: null, quick: false, rounds: 2 };

function plan(
  wanted: Partial<Wanted> = {},
  fakes = SYSTEMS,
  workloads = [workload('a'), workload('b')],
) {
  const known = { workloads, systems: fakes.map(system), experiments: [] };
  return makePlan({ ...WANTED, ...wanted }, known);
}

const QUIET: Watcher = { begin: () => {}, ran: () => {}, note: () => {} };

async function results(made = plan(), interrupted = new AbortController().signal, watcher = QUIET) {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-test-bench-'));
  started = [];
  const { rounds, workloads, systems } = made;
  const store = new ResultsStore(dir, {
    id: 'x',
    quick: false,
    rounds,
    started_at: '',
    host: {
      cpu: '',
      cores: 2,
      memory_bytes: 0,
      kernel: '',
      os: '',
      node: '',
      qemu: {},
      commit: 'c',
      dirty: false,
    },
    systems,
    workloads,
  });
  let failure: unknown = null;
  try {
    await new Runner({ plan: made, absent: new Map(), store, watcher, interrupted }).run();
    store.finish();
  } catch (error) {
    failure = error;
  }
  const read = existsSync(join(dir, 'results.json')) ? readResults(dir) : store.results;
  rmSync(dir, { recursive: true });
  return { results: read, failure };
}

function invalidOf(runs: readonly Run[], name: string): string | null | undefined {
  return runs.find((one) => one.system === name)?.invalid;
}

function usage(make: () => unknown, says: RegExp): void {
  assert.throws(make, (error: unknown) => {
    return error instanceof UnderstudyError && error.code === 'usage' && says.test(error.message);
  });
}

bench('a name that nothing has is told the nearest one', () => {
  usage(() => plan({ names: ['aa'] }), /no workload or experiment "aa"; did you mean "a"/);
  usage(() => plan({ systems: ['plane'] }), /no system "plane"; did you mean "plain"/);
});

bench('what was asked for brings what it needs, and no more', () => {
  const names = (systems: string[]): string => {
    return plan({ systems })
      .systems.map(({ name }) => name)
      .join();
  };
  assert.is(names(['plain']), 'plain');
  assert.is(names(['lockstep']), 'plain,lockstep');
  assert.is(names(['record']), 'plain,record,replay', 'its verifier');
  assert.is(names(['rr-replay']), 'plain,rr-record,rr-replay');
  assert.is(names(['rr-record']), 'plain,rr-record', 'a replay verifies nothing of it');
  assert.equal(plan({ systems: ['lockstep'] }).added, ['plain']);
  assert.match(planText(plan({ systems: ['lockstep'] }), new Map()), /plain: the others need them/);
});

bench('systems of one workload are neighbours in time, round by round', async () => {
  const { results: all } = await results(plan({ systems: ['plain', 'lockstep'] }));
  assert.equal(started, Array.from({ length: 4 }, () => ['plain', 'lockstep']).flat());
  assert.equal(
    all.runs.map((one) => `${one.round}${one.workload}`),
    ['0a', '0a', '0b', '0b', '1a', '1a', '1b', '1b'],
  );
  assert.is(cellsOf(plan(), new Map()).length, 4);
  assert.ok(all.complete);
});

bench('what is verified counts when its baseline and its replay do', async () => {
  const { results: all } = await results(plan({ rounds: 1 }));
  for (const { system: name, invalid } of all.runs) assert.is(invalid, null, name);
  const record = all.runs.find((one) => one.system === 'record');
  assert.equal(record?.verification, { baseline: true, replay: true, disks: null });
  assert.equal(record?.facts, { instructions: 7 });
  assert.is(all.runs.find((one) => one.system === 'plain')?.verification, null);
});

bench('a recording that does not replay does not count', async () => {
  const fakes = SYSTEMS.map((one) => (one.name === 'replay' ? { ...one, fails: 'diverged' } : one));
  const { runs } = (await results(plan({ rounds: 1 }, fakes, [workload('a')]))).results;
  assert.match(invalidOf(runs, 'replay') ?? '', /diverged/);
  assert.match(invalidOf(runs, 'record') ?? '', /does not replay: diverged/);
  assert.is(invalidOf(runs, 'lockstep'), null);
});

bench('without its baseline nothing that is verified counts', async () => {
  const fakes = SYSTEMS.map((one) => (one.name === 'plain' ? { ...one, fails: 'broke' } : one));
  const { runs } = (await results(plan({ rounds: 1 }, fakes, [workload('a')]))).results;
  for (const name of ['record', 'replay', 'lockstep']) {
    assert.match(invalidOf(runs, name) ?? '', /baseline \(plain\) does not count/, name);
  }
  assert.is(invalidOf(runs, 'rr-record'), null, 'it is not verified');
});

bench('disks that differ make a run invalid, by the reason that the system has', async () => {
  const harvest = { verification: { replay: true, disks: false }, problem: 'the disks differ' };
  const fakes: Fake[] = [
    ...SYSTEMS.slice(0, 5),
    { name: 'lockstep', baseline: 'plain', verified: true, harvest },
  ];
  const { runs } = (await results(plan({ rounds: 1 }, fakes, [workload('a')]))).results;
  assert.is(invalidOf(runs, 'lockstep'), 'the disks differ');
  assert.is(runs.find((one) => one.system === 'lockstep')?.verification?.disks, false);
});

bench('a replay of a served workload has no figures, and is none the worse', async () => {
  const { runs } = (await results(plan({ rounds: 1 }, SYSTEMS, [workload('a', true)]))).results;
  const replay = runs.find((one) => one.system === 'replay');
  assert.equal(replay?.values, {});
  assert.is(replay?.invalid, null);
});

bench('a replay that nobody talks to is run only to verify, and the results say why', async () => {
  const made = plan({ rounds: 1 }, SYSTEMS, [workload('a', true), workload('b')]);
  const { results: all, failure } = await results(made);
  assert.is(failure, null);
  const on = (name: string) =>
    all.runs.filter((one) => one.workload === name).map((one) => one.system);
  assert.equal(on('a'), ['plain', 'rr-record', 'record', 'replay', 'lockstep']);
  assert.equal(on('b'), ['plain', 'rr-record', 'rr-replay', 'record', 'replay', 'lockstep']);
  const why = 'nobody talks to a replay';
  assert.equal(
    all.absent,
    ['rr-replay', 'replay'].map((name) => ({ workload: 'a', system: name, why })),
  );
  assert.match(planText(made, new Map()), /: 11 runs/);
  assert.is(new Summary(all).cell('a', 'replay', 'rate')?.why, why);
  assert.is(new Summary(all).cell('a', 'rr-replay', 'rate')?.why, why);
});

bench('the list asks no system, which may build a QEMU, and names those that are not yet', () => {
  const systems = new Map(listing().systems.map(({ name, notYet }) => [name, notYet]));
  for (const name of ['plain', 'colo', 'lockstep', 'remus'])
    assert.is(systems.get(name), null, name);
  assert.match(systems.get('quorum') ?? '', /^not yet: this version has no protocol "quorum"/);
});

bench('a workload that cannot be prepared is absent everywhere, and the rest goes on', async () => {
  const broken = { ...workload('a'), prepare: () => Promise.reject(new Error('no compiler')) };
  const { results: all } = await results(plan({ rounds: 1 }, SYSTEMS, [broken, workload('b')]));
  assert.is(all.absent.filter(({ why }) => /no compiler/.test(why)).length, SYSTEMS.length);
  assert.ok(all.runs.every((one) => one.workload === 'b'));
});

bench('an interruption keeps what was measured, marked as not complete', async () => {
  const abort = new AbortController();
  const fakes = SYSTEMS.map((one) =>
    one.name === 'record' ? { ...one, hangs: true as const } : one,
  );
  const watcher: Watcher = {
    ...QUIET,
    begin(what) {
      if (what.includes('on record')) void sleep(20).then(() => abort.abort());
    },
  };
  const { results: all, failure } = await results(plan({}, fakes), abort.signal, watcher);
  assert.is((failure as UnderstudyError).code, 'interrupted');
  assert.not.ok(all.complete);
  assert.equal(
    all.runs.map((one) => one.system),
    ['plain', 'rr-record', 'rr-replay'],
  );
});

bench('the estimate learns from what was seen', () => {
  const made = plan();
  const [a, b] = made.workloads;
  if (a === undefined || b === undefined) throw new Error('two workloads');
  const estimate = new Estimate(made);
  const before = estimate.of('plain', b);
  estimate.saw('plain', a, 2 * estimate.of('plain', a));
  assert.is(estimate.of('plain', b), 2 * before, 'a host that is slower');
  estimate.saw('plain', b, 3);
  assert.is(estimate.of('plain', b), 3);
});

bench('a run that hung or failed tells nothing of the time that the next one takes', async () => {
  const made = plan({}, [{ name: 'plain', fails: 'it hung' }], [workload('a')]);
  const [a] = made.workloads;
  if (a === undefined) throw new Error('one workload');
  const left: number[] = [];
  const begin: Watcher['begin'] = (_what, _done, _total, leftS) => {
    left.push(leftS);
  };
  await results(made, undefined, { ...QUIET, begin });
  const each = estimateS('plain', a, 'full');
  assert.equal(left, [2 * each, each]);
});

bench('results are not overwritten, and say what they are', () => {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-test-bench-'));
  const id = resultsId(new Date('2026-11-26T04:05:06.789Z'), '0123456789abcdef');
  assert.is(id, '20261126-040506-01234567');
  assert.is(makeResultsDir(join(dir, 'new'), id), join(dir, 'new'));
  const store = new ResultsStore(join(dir, 'new'), {} as never);
  store.addAbsent();
  assert.is(JSON.parse(readFileSync(join(dir, 'new', 'results.json'), 'utf8')).complete, false);
  assert.throws(() => makeResultsDir(join(dir, 'new'), id), /never overwritten/);
  assert.throws(() => readResults(dir), /are no results/);
  rmSync(dir, { recursive: true });
});

bench('what programs say is read, and nothing else is taken for a figure', () => {
  const csv = '"test","rps","avg_latency_ms"\n"SET","8123.45","0.4"\n"GET","9001.00","0.3"\n';
  assert.equal(rates(csv), { SET: 8123.45, GET: 9001 });
  assert.throws(() => rates('"SET","1.00"\n'), /redis-benchmark said/);
  const report =
    'latency average = 12.5 ms\ninitial connection time = 3 ms\ntps = 80.5 (without)\n';
  assert.equal(transactions(report), {
    values: { 'TPC-B': 80.5 },
    facts: { transaction_mean_ms: 12.5 },
  });
  assert.throws(() => transactions('FATAL: no'), /pgbench said/);
});

bench('a pair counts by its image where nothing can be replayed', async () => {
  const judged = async (image: boolean) => {
    const harvest = { verification: { replay: null, image, disks: true } };
    const fakes: Fake[] = [
      ...SYSTEMS.slice(0, 5),
      { name: 'remus', baseline: 'plain', verified: true, harvest },
    ];
    const { runs } = (await results(plan({ rounds: 1 }, fakes, [workload('a')]))).results;
    return runs.find((one) => one.system === 'remus');
  };
  const good = await judged(true);
  assert.is(good?.invalid, null);
  assert.equal(good?.verification, { baseline: true, replay: null, image: true, disks: true });
  assert.match((await judged(false))?.invalid ?? '', /nothing says that the backup's image/);
});

bench('a system of one workload is run there only, and the results say why', async () => {
  const why = 'compared there only';
  const fakes = [...SYSTEMS, { name: 'remus-10hz', baseline: 'plain', only: ['b'] }];
  const made = plan({ rounds: 1 }, fakes);
  const { results: all } = await results(made);
  const on = all.runs.filter((one) => one.system === 'remus-10hz');
  assert.equal(
    on.map((one) => one.workload),
    ['b'],
  );
  assert.is(new Summary(all).cell('a', 'remus-10hz', 'rate')?.why, why);
});

bench('an experiment that fails in the middle keeps its rows and the reason', async () => {
  const kind = {
    name: 'x',
    title: 'X',
    columns: ['a_ms'],
    seconds: { quick: 1, full: 1 },
    async measure({ row }: { row: (row: number[]) => void }) {
      row([1]);
      throw new Error('the link broke');
    },
  };
  const interrupted = new AbortController().signal;
  const made = await conduct(kind, { scale: 'quick', interrupted, runs: [], note: () => {} });
  assert.equal(made.rows, [[1]]);
  assert.is(made.why_not, 'the link broke');
});

bench.run();
