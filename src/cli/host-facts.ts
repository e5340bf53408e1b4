// SPDX-License-Identifier: Apache-2.0
/** What `doctor` says of this host beside another: what must be the same, what need not. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus, hostname, release, userInfo } from 'node:os';
import { type FirmwareHashes, hashFirmware } from '../vm/firmware.ts';

/** Compared at the hello and by `replay`; docs/hosts.md. */
export interface MustBeSame {
  readonly qemu_build: string | null;
  /** sha256 by name. */
  readonly firmware: FirmwareHashes;
  /** Hash of all these files: one word to compare by eye. */
  readonly firmware_id: string | null;
}

/** No guest sees these (test/integration/leak-finder.test.ts). */
export interface MayDiffer {
  readonly cpu: string;
  readonly cpu_flags: number;
  readonly kernel: string;
  readonly libc: string;
  readonly host: string;
  readonly user: string;
  readonly time_zone: string;
}

export function mustBeSame(build: string | null, firmwareDir: string | null): MustBeSame {
  const firmware = firmwareDir === null ? {} : hashFirmware(firmwareDir);
  const id = createHash('sha256').update(JSON.stringify(firmware)).digest('hex').slice(0, 16);
  return { qemu_build: build, firmware, firmware_id: firmwareDir === null ? null : id };
}

export function mayDiffer(): MayDiffer {
  const report = process.report?.getReport() as { header?: Record<string, unknown> } | undefined;
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpu_flags: cpuFlags(),
    kernel: release(),
    libc: `glibc ${String(report?.header?.glibcVersionRuntime ?? 'unknown')}`,
    host: hostname(),
    user: userName(),
    time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  };
}

/** How many features the CPU says it has. */
function cpuFlags(): number {
  try {
    const line = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1] ?? '';
    return line.split(' ').filter((word) => word !== '').length;
  } catch {
    return 0;
  }
}

/** A user id without a name is one, too. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'unknown');
  }
}
