// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's network: one namespace that is the switch of two hosts.
 *
 *     client 10.77.0.1 ── br0 ──┬── tap-primary
 *                               └── tap-backup        guest 10.77.0.2
 *     lo: the replication link, and nothing else
 *
 * Both taps are ports of one bridge, as two hosts hang on one switch: when a
 * primary dies, its port loses the carrier, the bridge forgets what it had
 * learned there, and frames for the VM flood to the backup's port. With `toBoth` it
 * learns nothing at the taps, so that both hear all that the VM is sent. Replication has
 * the loopback device for itself, so that taking it down cuts that link silently
 * and leaves the client's network alone.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { messageOf, UnderstudyError } from '../base/errors.ts';

export interface DemoNetwork {
  readonly name: string;
  /** Words that run a command inside. */
  readonly prefix: readonly string[];
  readonly tap: { readonly primary: string; readonly backup: string };
  /** Where the primary listens for its backup. */
  readonly replication: string;
  readonly guestAddress: string;
  /** Cuts the replication link: frames vanish, no end is told. */
  cutLink(): void;
  mendLink(): void;
  /** Idempotent. Everything in the namespace goes with it. */
  remove(): void;
}

export const CLIENT_ADDRESS = '10.77.0.1/24';
export const GUEST_ADDRESS = '10.77.0.2';
/** As a switch that forwards at once, and floods what it does not know. */
export const BRIDGE_OPTIONS = ['stp_state', '0', 'forward_delay', '0', 'mcast_snooping', '0'];

const NAME = /^us-demo-(\d+)(?:-\d+)?$/;

let made = 0;

/**
 * @param toBoth frames for the VM go to both taps, always (docs/runbook.md)
 * @throws UnderstudyError host-unsupported without the right or the means to make one
 */
export function makeNetwork({ toBoth = false } = {}): DemoNetwork {
  sweep();
  made += 1;
  const name = `us-demo-${process.pid}-${made}`;
  try {
    ip('netns', 'add', name);
  } catch (cause) {
    throw new UnderstudyError(
      'host-unsupported',
      `cannot make a network namespace (${messageOf(cause)}): the demo needs root, ` +
        'the ip command (package iproute2) and a kernel that allows namespaces',
      { cause },
    );
  }
  const inside = (...words: string[]): void => ip('-n', name, ...words);
  let removed = false;
  const network: DemoNetwork = {
    name,
    prefix: ['ip', 'netns', 'exec', name],
    tap: { primary: 'tap-primary', backup: 'tap-backup' },
    replication: '127.0.0.1:7700',
    guestAddress: GUEST_ADDRESS,
    cutLink: () => inside('link', 'set', 'lo', 'down'),
    mendLink: () => inside('link', 'set', 'lo', 'up'),
    remove() {
      if (removed) return;
      removed = true;
      ip('netns', 'delete', name);
    },
  };
  try {
    inside('link', 'set', 'lo', 'up');
    inside('link', 'add', 'br0', 'type', 'bridge', ...BRIDGE_OPTIONS);
    for (const tap of [network.tap.primary, network.tap.backup]) {
      inside('tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr');
      inside('link', 'set', tap, 'master', 'br0');
      if (toBoth) inside('link', 'set', tap, 'type', 'bridge_slave', 'learning', 'off');
      inside('link', 'set', tap, 'up');
    }
    inside('addr', 'add', CLIENT_ADDRESS, 'dev', 'br0');
    inside('link', 'set', 'br0', 'up');
  } catch (cause) {
    network.remove();
    throw new UnderstudyError(
      'host-unsupported',
      `cannot make the demo's bridge and taps: ${messageOf(cause)}; ` +
        'the kernel needs its bridge and tun modules, and /dev/net/tun',
      { cause },
    );
  }
  return network;
}

export function ip(...words: string[]): void {
  try {
    execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim();
    throw new Error(said ? `ip ${words.join(' ')}: ${said}` : messageOf(error));
  }
}

/** Removes what demos that were themselves killed have left behind. */
function sweep(): void {
  let list: string;
  try {
    list = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  } catch {
    return; // making ours will say what is wrong
  }
  for (const line of list.split('\n')) {
    const name = line.split(' ')[0] ?? '';
    const pid = NAME.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    try {
      ip('netns', 'delete', name);
    } catch {
      // another demo was quicker
    }
  }
}
