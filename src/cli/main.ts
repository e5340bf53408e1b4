// SPDX-License-Identifier: Apache-2.0
/** The `understudy` command: one module per subcommand, loaded when it is asked for. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { EXIT, errorCodeOf } from '../base/errors.ts';
import { projectRoot } from '../base/paths.ts';
import { reportError } from './output.ts';

interface CommandModule {
  register(program: Command): void;
}

/** In the order of `--help`. `./NAME.ts` exports `register`, which adds the command NAME. */
const COMMANDS = [
  'demo',
  'record',
  'replay',
  'primary',
  'backup',
  'replica',
  'status',
  'promote',
  'stop',
  'image',
  'inspect',
  'diff',
  'debug',
  'collect',
  'bench',
  'ls',
  'prune',
  'pack',
  'unpack',
  'doctor',
  'guest',
  'keys',
] as const;

async function load(name: string): Promise<CommandModule> {
  return (await import(`./${name}.ts`)) as CommandModule;
}

/** Those of which the module is there: a part of the checkout may not be built. */
function available(): string[] {
  const files = readdirSync(dirname(fileURLToPath(import.meta.url)));
  return COMMANDS.filter((name) =>
    files.some((file) => /\.[jt]s$/.test(file) && file.startsWith(`${name}.`)),
  );
}

function version(): string {
  const manifest = readFileSync(join(projectRoot(), 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/**
 * Runs the command line and sets the exit code of the process.
 * @param argv as process.argv
 */
export async function main(argv: readonly string[]): Promise<void> {
  // What is written from here on, and by QEMU, has a guest's memory, keys and packets in it.
  process.umask(0o077);
  // `understudy inspect … | head` is no error.
  process.stdout.on('error', (error) => {
    if (errorCodeOf(error) === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
  // Nobody hears it any more, or its disk is full: a VM does not end for that.
  process.stderr.on('error', () => {});
  const program = new Command('understudy')
    .description('A running VM with an understudy: record, replay exactly, fail over unnoticed.')
    .version(version())
    .showHelpAfterError('(see `understudy --help`)')
    .exitOverride();

  const asked = COMMANDS.find((name) => name === argv[2]);
  try {
    for (const name of asked === undefined ? available() : [asked]) {
      (await load(name)).register(program);
    }
    await program.parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has printed its message; its own exit codes are 0 and 1.
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    process.exitCode = reportError(error, argv.includes('--json'));
  }
}
