// SPDX-License-Identifier: Apache-2.0
/** Taps: checked (they exist, are free, are ours to open), and opened for QEMU. */
import { spawnSync } from 'node:child_process';
import { accessSync, closeSync, constants, readFileSync } from 'node:fs';
import { openTap } from '../../native/kvm-exit-log/index.ts';
import { errorCodeOf, messageOf, UnderstudyError } from '../base/errors.ts';
import { describeHolders, processesWith } from '../base/file-lock.ts';
import type { Undo } from '../base/undo.ts';
import type { VmConfig } from './config.ts';

interface IpLink {
  readonly flags?: readonly string[];
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: { readonly type?: string; readonly user?: string | number };
  };
}

/**
 * Checks every tap the VM uses.
 * @returns warnings: what will not stop the VM, but probably is not meant
 * @throws UnderstudyError tap-missing | tap-in-use | tap-permission
 */
export function checkTaps(config: VmConfig): string[] {
  const names = config.nics.flatMap(({ backend }) =>
    backend.kind === 'tap' ? [backend.ifname] : [],
  );
  if (names.length > 0) checkTunDevice();
  return names.flatMap((name) => checkTap(name));
}

/**
 * Opens them, in order; `undo` closes them.
 * @throws UnderstudyError tap-in-use | tap-missing | tap-permission
 */
export function openTaps(names: readonly string[], undo: Undo): number[] {
  return names.map((name) => {
    try {
      const fd = openTap(name);
      undo.add(() => closeSync(fd));
      return fd;
    } catch (cause) {
      const code = errorCodeOf(cause);
      if (code === 'EBUSY') throw tapInUse(name, 'another process');
      throw new UnderstudyError(
        code === 'ENODEV' ? 'tap-missing' : 'tap-permission',
        `tap "${name}" cannot be opened (${messageOf(cause)}): make it with ` +
          `\`ip tuntap add dev ${name} mode tap user $USER\`, or run with CAP_NET_ADMIN`,
        { cause, details: { tap: name } },
      );
    }
  });
}

function checkTunDevice(): void {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch (cause) {
    throw new UnderstudyError(
      'tap-permission',
      `taps cannot be opened on this host: /dev/net/tun: ${messageOf(cause)}; ` +
        'load the tun module, or run as a user who may open it',
      { cause },
    );
  }
}

function checkTap(name: string): string[] {
  if (!interfaceExists(name)) {
    throw new UnderstudyError(
      'tap-missing',
      `tap interface "${name}" does not exist in this network namespace: make it with ` +
        `\`ip tuntap add dev ${name} mode tap user $USER && ip link set ${name} up\``,
    );
  }
  const link = describeLink(name);
  if (link === null) return []; // no ip(8): QEMU's own attempt decides
  const { info_kind: kind, info_data: data } = link.linkinfo ?? {};
  if (kind !== 'tun' || data?.type !== 'tap') {
    throw new UnderstudyError(
      'tap-missing',
      `interface "${name}" is not a tap: [[nic]] tap needs one ` +
        `(\`ip tuntap add dev NAME mode tap\`)`,
    );
  }
  const flags = link.flags ?? [];
  // A tap has a carrier exactly while somebody has it open.
  if (flags.includes('LOWER_UP')) {
    const holders = processesWith((fd) =>
      new RegExp(`^iff:\\s*${escapeRegExp(name)}$`, 'm').test(
        readFileSync(fd.replace('/fd/', '/fdinfo/'), 'utf8'),
      ),
    );
    throw tapInUse(name, describeHolders(holders));
  }
  return flags.includes('UP')
    ? []
    : [`tap "${name}" is down: nothing will pass until \`ip link set ${name} up\``];
}

export function tapInUse(name: string, holder: string): UnderstudyError {
  return new UnderstudyError(
    'tap-in-use',
    `tap interface "${name}" is in use by ${holder}: each VM, and each side of a pair, ` +
      'needs a tap of its own',
    { details: { tap: name } },
  );
}

/** /proc and not /sys: sysfs may show the network namespace it was mounted in. */
function interfaceExists(name: string): boolean {
  const table = readFileSync('/proc/self/net/dev', 'utf8');
  return table.split('\n').some((line) => line.split(':')[0]?.trim() === name);
}

function describeLink(name: string): IpLink | null {
  const run = spawnSync('ip', ['-json', '-details', 'link', 'show', 'dev', name], {
    encoding: 'utf8',
  });
  if (run.error !== undefined || run.status !== 0) return null;
  try {
    return (JSON.parse(run.stdout) as IpLink[])[0] ?? null;
  } catch {
    return null;
  }
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
