// SPDX-License-Identifier: Apache-2.0
/** `understudy bench [NAME…]`: the benchmark harness; what it does is in bench/. */
import { type Command, InvalidArgumentError } from 'commander';
import type { BenchResults } from '../../bench/results.ts';
import { colour } from '../base/colour.ts';
import { EXIT, UnderstudyError } from '../base/errors.ts';
import { formatDuration } from '../base/format.ts';
import { printFacts, printJson, say } from './output.ts';
import { onSignals } from './signals.ts';

interface BenchFlags {
  readonly list?: true;
  readonly quick?: true;
  readonly rounds?: number;
  readonly systems?: readonly string[];
  readonly out?: string;
  readonly of?: string;
  readonly compare?: readonly string[];
  readonly report?: string;
  readonly json?: true;
}

function parseRounds(text: string): number {
  if (!/^[1-9]\d{0,2}$/.test(text)) {
    throw new InvalidArgumentError('It must be a whole number from 1 to 999.');
  }
  return Number(text);
}

function parseNames(text: string): string[] {
  const names = text.split(',').filter((name) => name !== '');
  if (names.length === 0) throw new InvalidArgumentError('It must be names, as plain,record.');
  return names;
}

export function register(program: Command): void {
  program
    .command('bench')
    .description('measure this and its peers on the same guest, and verify what it protects')
    .argument('[NAME...]', 'workloads and experiments (default: all; --list has them)')
    .option('--list', 'the workloads, systems and experiments, and the results that are kept')
    .option('--quick', 'a smoke run: one round, small sizes, a few systems')
    .option('--rounds <N>', 'how often everything is run (default: 4, with --quick 1)', parseRounds)
    .option('--systems <NAMES>', 'only these, and what they need, as plain,record', parseNames)
    .option('-o, --out <DIR>', 'where results.json goes (default: among the kept results)')
    .option(
      '--compare <RESULTS...>',
      'two kept results: is the second one slower? exit code 1: yes',
    )
    .option('--of <RESULTS>', 'measure nothing: show (and --report) kept results')
    .option('--report <DIR>', 'write tables, figures and one HTML page there')
    .option('--json', 'the results as one JSON object on stdout, and nothing else')
    .addHelpText(
      'after',
      '\nNeeds root, for network namespaces and taps. RESULTS: a folder with results.json, or an\n' +
        'id or commit that --list shows. Ctrl-C keeps what was measured. docs/benchmarks.md has\n' +
        'what each column is, and what is verified.',
    )
    .action(run);
}

async function run(names: readonly string[], flags: BenchFlags): Promise<void> {
  if (flags.list === true) return list(flags);
  if (flags.compare !== undefined) return compare(names, flags);
  if (flags.of !== undefined) {
    const { findResults } = await import('../../bench/run/kept.ts');
    return show(findResults(flags.of), flags);
  }
  return measure(names, flags);
}

async function measure(names: readonly string[], flags: BenchFlags): Promise<void> {
  const [{ planOf }, bench, { absencesOf, planText }, { stderrWatcher }, { keep }] =
    await Promise.all([
      import('../../bench/run/registries.ts'),
      import('../../bench/run/bench.ts'),
      import('../../bench/run/plan.ts'),
      import('../../bench/run/watcher.ts'),
      import('../../bench/run/kept.ts'),
    ]);
  const { quick = false, rounds = null, systems = null } = flags;
  const plan = planOf({ names, systems, quick, rounds });
  bench.checkHost();
  const absent = await absencesOf(plan.systems);
  say(planText(plan, absent));
  const interrupted = new AbortController();
  const signals = onSignals((count) => {
    // What was started dies with us.
    if (count > 1) process.exit(EXIT.failure);
    say('interrupted: ending the VM, and keeping what was measured');
    interrupted.abort(new UnderstudyError('interrupted', 'the benchmarks were interrupted'));
  });
  const watcher = stderrWatcher(plan.workloads);
  try {
    const done = await bench.runBench({
      plan,
      absent,
      out: flags.out ?? null,
      watcher,
      interrupted: interrupted.signal,
    });
    watcher.close();
    keep(done.dir, (text) => say(`warning: ${text}`));
    say(`results: ${done.dir} (${formatDuration(done.results.seconds * 1000)})`);
    await show(done.results, flags);
    if (done.failure !== null) throw done.failure;
    if (done.results.runs.some((one) => one.verification !== null && one.invalid !== null)) {
      process.exitCode = EXIT.failure;
    }
  } finally {
    watcher.close();
    signals.close();
  }
}

/** The table, or JSON; and the report where one is asked for. */
async function show(results: BenchResults, flags: BenchFlags): Promise<void> {
  if (flags.report !== undefined) {
    const { writeReport } = await import('../../bench/report/report.ts');
    const files = await writeReport(results, flags.report);
    say(`report: ${files.length} files in ${flags.report}`);
  }
  if (flags.json === true) return printJson(results);
  const { terminalTable } = await import('../../bench/table.ts');
  process.stdout.write(`${terminalTable(results)}\n`);
}

async function compare(names: readonly string[], flags: BenchFlags): Promise<void> {
  // Names after the two are taken by --compare as well: both lists are one.
  const [a, b, ...more] = [...(flags.compare ?? []), ...names];
  if (a === undefined || b === undefined || more.length > 0) {
    throw new UnderstudyError('usage', '--compare takes two results: --compare BEFORE AFTER');
  }
  const [{ findResults }, { compareResults, renderComparison }] = await Promise.all([
    import('../../bench/run/kept.ts'),
    import('../../bench/compare.ts'),
  ]);
  const comparison = compareResults(findResults(a), findResults(b));
  if (flags.json === true) printJson(comparison);
  else process.stdout.write(`${renderComparison(comparison)}\n`);
  if (comparison.flagged) process.exitCode = EXIT.failure;
}

async function list(flags: BenchFlags): Promise<void> {
  const { listing } = await import('../../bench/run/registries.ts');
  const found = listing();
  if (flags.json === true) return printJson(found);
  const heading = (text: string): void => {
    process.stdout.write(`${colour.bold(text)}\n`);
  };
  heading('workloads');
  printFacts(found.workloads.map(({ name, title }) => [name, title]));
  heading('systems');
  printFacts(
    found.systems.map(({ name, title, notYet }) => [
      name,
      notYet === null ? title : `${title} ${colour.dim(`(${notYet})`)}`,
    ]),
  );
  heading('experiments');
  printFacts(found.experiments.map(({ name, title }) => [name, title]));
  if (found.kept.length === 0) return;
  heading('kept results, newest first');
  printFacts(
    found.kept.map(({ id, quick, complete, rounds, runs, dir }) => [
      id,
      `${runs} runs in ${rounds} rounds${quick ? ', quick' : ''}${complete ? '' : ', not complete'}` +
        `  ${colour.dim(dir)}`,
    ]),
  );
}
