// SPDX-License-Identifier: Apache-2.0
/** `understudy collect NAME [--out DIR]`: a recording of what a side of a pair keeps. */
import type { Command } from 'commander';
import { colour } from '../base/colour.ts';
import { UnderstudyError } from '../base/errors.ts';
import { formatBytes, formatCount } from '../base/format.ts';
import { stateDir, stateRoot } from '../base/paths.ts';
import { formatPoint } from '../base/position.ts';
import { pointField } from '../base/position-json.ts';
import { CatalogNote } from '../catalog/note.ts';
import { knownDaemons } from '../daemon/client.ts';
import type { DaemonRole } from '../daemon/state-dir.ts';
import { termJson } from '../log/terms.ts';
import { refuseByEpochs } from '../recording/by-epochs.ts';
import { type Collected, collect } from '../recording/collect.ts';
import { type KeptLog, keptLogs } from '../recording/past.ts';
import { parseCount, parseRole } from './arguments.ts';
import { printFacts, printJson, say } from './output.ts';
import { onSignals } from './signals.ts';

interface CollectFlags {
  readonly out?: string;
  readonly side?: DaemonRole;
  readonly term?: number;
  readonly stateDir?: string;
  readonly json?: true;
}

/** What of a side was looked at. */
interface Side {
  readonly role: DaemonRole;
  readonly logs: readonly KeptLog[];
}

const HELP = `
Needs history = "10m" (or the like) in [replication] while the VM runs. Without --out: what
is kept, a line per log. A side has one log for each VM: that of a backup which took over has
what the side that died had done, the take-over, and what it has done itself since.`;

export function register(program: Command): void {
  program
    .command('collect')
    .description('make a recording of the last minutes of a pair, as one side has kept them')
    .argument('<NAME>', 'the VM; its daemon may run or not')
    .option('-o, --out <DIR>', 'folder to make, for replay, debug, inspect, pack')
    .option(
      '--side <ROLE>',
      'whose: primary or backup; needed where both are on this host',
      parseRole,
    )
    .option('--term <N>', 'which log, where there are several: the term it began in', parseCount)
    .option('--state-dir <DIR>', 'folder of the state folders (default: UNDERSTUDY_STATE_DIR)')
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(name: string, flags: CollectFlags): Promise<void> {
  if (flags.stateDir !== undefined) process.env.UNDERSTUDY_STATE_DIR = flags.stateDir;
  const side = await sideOf(name, flags.side);
  if (flags.out === undefined) {
    if (flags.json === true) {
      printJson({ name, side: side.role, logs: side.logs.map(jsonLog) });
    } else {
      for (const log of side.logs)
        process.stdout.write(`${colour.bold(`term ${log.term}`)}: ${describe(log)}\n`);
    }
    return;
  }
  await make(name, side, pick(side, flags.term), { ...flags, out: flags.out });
}

/** @throws UnderstudyError no-history | not-exact | not-running | usage */
async function sideOf(name: string, wanted: DaemonRole | undefined): Promise<Side> {
  const roles = knownDaemons(name)
    .map(({ role }) => role)
    .filter((role) => wanted === undefined || role === wanted);
  if (roles.length === 0) {
    const who = wanted === undefined ? 'daemon' : wanted;
    throw new UnderstudyError(
      'not-running',
      `no ${who} of "${name}" has a state folder in ${stateRoot()}: ` +
        'give the folder with --state-dir, on the host where it ran',
    );
  }
  const sides = roles
    .map((role) => ({ role, logs: keptLogs(stateDir(name, role)) }))
    .filter(({ logs }) => logs.length > 0);
  const [side, second] = sides;
  if (side === undefined) {
    for (const role of roles) await refuseByEpochs(stateDir(name, role), 'a recording');
    const where = roles.map((role) => stateDir(name, role)).join(', ');
    throw new UnderstudyError(
      'no-history',
      `nothing is kept of "${name}" (${where}): set history = "10m" in [replication] of its ` +
        'VM.toml, on both sides, before the pair starts',
    );
  }
  if (second !== undefined) {
    throw new UnderstudyError(
      'usage',
      `both sides of "${name}" are on this host: say --side primary or --side backup`,
    );
  }
  return side;
}

/** @throws UnderstudyError usage, when it is not clear which one is meant */
function pick({ role, logs }: Side, term: number | undefined): KeptLog {
  // A log of an earlier power-on is taken only when the term has no other.
  const matching = logs.filter((log) => term === undefined || log.term === term);
  const newest = matching.at(-1);
  const list = logs.map((log) => `  term ${log.term}: ${describe(log)}`).join('\n');
  if (newest === undefined) {
    throw new UnderstudyError('usage', `the ${role} keeps no log of term ${term}:\n${list}`);
  }
  const vmId = newest.manifest.vm_id;
  const others = matching.filter(({ manifest }) => manifest.vm_id === vmId);
  if (others.length > 1) {
    throw new UnderstudyError('usage', `the ${role} keeps several logs, say --term:\n${list}`);
  }
  return newest;
}

function describe({ manifest, as }: KeptLog): string {
  const { created, vm_id } = manifest;
  return `begun as the ${as} (VM ${vm_id.slice(0, 8)}, from ${created})`;
}

function jsonLog({ manifest, as, term, log }: KeptLog): object {
  const { vm_id, created } = manifest;
  return { term, as, vm_id, created, log };
}

async function make(
  name: string,
  { role }: Side,
  kept: KeptLog,
  flags: CollectFlags & { readonly out: string },
): Promise<void> {
  const abort = new AbortController();
  const signals = onSignals(() =>
    abort.abort(
      new UnderstudyError('interrupted', 'collecting was interrupted: nothing is left of it'),
    ),
  );
  const warn = (text: string): void => say(`warning: ${text}`);
  let result: Collected;
  try {
    result = await collect(kept, flags.out, warn, abort.signal);
  } finally {
    signals.close();
  }
  await new CatalogNote(result.dir, warn).note();
  if (flags.json === true) {
    printJson({
      name,
      side: role,
      term: kept.term,
      as: kept.as,
      dir: result.dir,
      ...pointField('from', result.from),
      checkpoints: result.checkpoints,
      ...pointField('to', result.to),
      terms: result.terms.map(termJson),
      log_bytes: result.logBytes,
    });
    return;
  }
  printFacts([
    ['collected', `term ${kept.term}: ${describe(kept)}`],
    ['from', result.from === null ? 'power-on' : formatPoint(result.from)],
    ['to', formatPoint(result.to)],
    ...result.terms
      .slice(1)
      .map(({ term, point }) => [`term ${term}`, `from ${formatPoint(point)}`] as const),
    ['checkpoints', formatCount(result.checkpoints)],
    ['log', formatBytes(result.logBytes)],
  ]);
  process.stdout.write(`${result.dir}\n`);
}
