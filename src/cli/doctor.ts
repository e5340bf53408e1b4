// SPDX-License-Identifier: Apache-2.0
/** `understudy doctor`: what this host can and cannot do, and what to do about it. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import type { Command } from 'commander';
import { gatherFacts, type HostProblem, judge } from '#scripts/checks.mjs';
import { addonPath, cacheDir, guestPaths, qemuPaths } from '#scripts/paths.mjs';
import { colour } from '../base/colour.ts';
import { EXIT } from '../base/errors.ts';
import { formatDuration } from '../base/format.ts';
import { type MayDiffer, type MustBeSame, mayDiffer, mustBeSame } from './host-facts.ts';
import { printFacts, printJson } from './output.ts';

interface Diagnosis {
  readonly ok: boolean;
  /** Path of the patched QEMU, or null. */
  readonly qemu: string | null;
  readonly qemu_version: string | null;
  readonly qemu_build: string | null;
  readonly exitlog: boolean;
  readonly kvm: boolean;
  readonly pmu: boolean;
  readonly networks: boolean;
  /** Whether something keeps this host's clock right; null: not known. */
  readonly clock_synchronised: boolean | null;
  /** How far a synchronised clock may be off, ms. */
  readonly clock_error_ms: number | null;
  readonly addon: string | null;
  readonly guest: { readonly kernel: string; readonly initrd: string } | null;
  readonly firmware: string | null;
  /** What two hosts that share a VM must have in common. */
  readonly same_on_both_sides: MustBeSame;
  readonly may_differ: MayDiffer;
  readonly cache: string;
  readonly free_bytes: number;
  readonly debian: string;
  readonly node: string;
  readonly problems: readonly HostProblem[];
}

export function register(program: Command): void {
  program
    .command('doctor')
    .description('what this host can and cannot do (exit code 13: it lacks something)')
    .option('--json', 'one JSON object on stdout')
    .action(async (options: { json?: boolean }) => {
      const diagnosis = diagnose(await askClock());
      if (options.json) printJson(diagnosis);
      else print(diagnosis);
      process.exitCode = diagnosis.ok ? EXIT.ok : EXIT.host;
    });
}

type HostClock = { readonly synchronised: boolean; readonly errorMs: number } | null;

/** What the kernel says of this host's clock; the addon asks it. */
async function askClock(): Promise<HostClock> {
  if (addonPath() === undefined) return null;
  try {
    return (await import('../../native/kvm-exit-log/index.ts')).hostClock();
  } catch {
    return null; // one that does not load is a problem of its own
  }
}

/** The bootstrap's own checks, and whether what it builds is there. */
export function diagnose(clock: HostClock): Diagnosis {
  const facts = gatherFacts();
  const qemu = qemuPaths();
  const guest = guestPaths();
  const addon = addonPath();
  const isBuilt = qemu !== undefined && guest !== undefined && addon !== undefined;
  const problems = [...judge(facts, { build: !isBuilt, demo: true })];
  const binary = qemu !== undefined && isExecutable(qemu.binary) ? qemu : undefined;
  const help = binary === undefined ? '' : optionsOf(binary.binary);
  const exitlog = /^-exitlog/m.test(help);
  if (qemu !== undefined && binary === undefined) {
    problems.push(missing('qemu-missing', `the patched QEMU ${qemu.binary} cannot be run`));
  } else if (binary === undefined) {
    problems.push(missing('qemu-missing', 'the patched QEMU is not built'));
  } else if (!exitlog) {
    problems.push(missing('qemu-unpatched', `${binary.binary} has no -exitlog option`));
  }
  const firmware = process.env.UNDERSTUDY_FIRMWARE_DIR ?? guest?.firmwareDir ?? null;
  if (guest === undefined) problems.push(missing('guest-missing', 'the guest is not built'));
  if (addon === undefined) problems.push(missing('addon-missing', 'the addon is not built'));
  return {
    ok: problems.length === 0,
    qemu: binary?.binary ?? null,
    qemu_version: binary === undefined ? null : versionOf(binary.binary),
    qemu_build: binary?.id ?? null,
    exitlog,
    kvm: facts.kvm,
    pmu: facts.pmu,
    networks: facts.canMakeNetworks && facts.tun,
    clock_synchronised: clock?.synchronised ?? null,
    clock_error_ms: clock?.synchronised === true ? clock.errorMs : null,
    addon: addon ?? null,
    guest: guest === undefined ? null : { kernel: guest.kernel, initrd: guest.initrd },
    firmware,
    same_on_both_sides: mustBeSame(binary?.id ?? null, firmware),
    may_differ: mayDiffer(),
    cache: cacheDir(),
    free_bytes: facts.freeBytes,
    debian: `${facts.os.id} ${facts.os.version}`.trim(),
    node: facts.node,
    problems,
  };
}

function missing(code: string, problem: string): HostProblem {
  return { code, problem, remedy: 'npm run bootstrap' };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function optionsOf(binary: string): string {
  return spawnSync(binary, ['-help'], { encoding: 'utf8' }).stdout ?? '';
}

/** Version as QEMU says it: "10.0.13". */
function versionOf(binary: string): string | null {
  const text = spawnSync(binary, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  return /version (\S+)/.exec(text)?.[1] ?? null;
}

/** No problem of this host alone: only a pair can be apart, and `status` says by how much. */
function clockWords({ clock_synchronised: synchronised, clock_error_ms: errorMs }: Diagnosis) {
  if (synchronised === null) return 'not known';
  if (errorMs !== null) return `synchronised, off by at most ${formatDuration(errorMs)}`;
  return colour.yellow(
    'not synchronised (chrony, ntpd or systemd-timesyncd would): after a failover to a host ' +
      'with another clock guest time is slewed by 5 %, up to 10 s; `status` has the difference',
  );
}

function print(d: Diagnosis): void {
  const yes = (value: boolean, no: string): string => (value ? 'yes' : `no: ${no}`);
  printFacts([
    ['host', `${d.debian}, Node ${d.node}`],
    ['QEMU', d.qemu === null ? 'not built' : `${d.qemu_version} ${d.qemu}`],
    ['exit log', yes(d.exitlog, 'this QEMU cannot record')],
    ['addon', d.addon ?? 'not built'],
    ['guest', d.guest?.kernel ?? 'not built'],
    ['networks', yes(d.networks, 'needs root and /dev/net/tun')],
    ['KVM', yes(d.kvm, 'VMs are emulated (TCG), nothing is lost by it')],
    ['PMU', yes(d.pmu, 'not used under TCG')],
    ['clock', clockWords(d)],
    ['same on both sides', sameText(d.same_on_both_sides)],
    ['may differ', differText(d.may_differ)],
    ['cache', `${d.cache} (${(d.free_bytes / 2 ** 30).toFixed(1)} GiB free)`],
  ]);
  for (const { problem, remedy } of d.problems) {
    process.stdout.write(`${colour.red('✗')} ${problem}\n    ${remedy}\n`);
  }
  if (d.ok) process.stdout.write(`${colour.green('✓')} ready\n`);
}

function sameText({ qemu_build, firmware_id }: MustBeSame): string {
  const build = qemu_build ?? 'not built';
  return `QEMU build ${build}, firmware ${firmware_id ?? 'not there'}`;
}

function differText(d: MayDiffer): string {
  return (
    `${d.cpu} (${d.cpu_flags} flags), Linux ${d.kernel}, ${d.libc}, host ${d.host}, ` +
    `user ${d.user}, ${d.time_zone}; paths, file systems, clocks (docs/hosts.md)`
  );
}
