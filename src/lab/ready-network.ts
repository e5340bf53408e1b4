// SPDX-License-Identifier: Apache-2.0
/**
 * A network for demos that root makes once, for one user, who can then play them without any
 * right: a bridge with the client's address and two taps that are that user's.
 *
 *     client 10.77.0.1 ── us-bridge ──┬── us-primary
 *                                     └── us-backup        guest 10.77.0.2
 *
 * It has the host's loopback for replication, which an ordinary user cannot cut.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { demoTaps } from '#scripts/paths.mjs';
import { messageOf, UnderstudyError } from '../base/errors.ts';
import { BRIDGE_OPTIONS, CLIENT_ADDRESS, type DemoNetwork, GUEST_ADDRESS, ip } from './netns.ts';

const BRIDGE = 'us-bridge';
const TAPS = Object.values(demoTaps);

/** Whether it is there. */
export function hasReadyNetwork(): boolean {
  const here = readFileSync('/proc/self/net/dev', 'utf8');
  return TAPS.every((tap) => here.includes(`${tap}:`));
}

/**
 * The one that is there.
 * @throws UnderstudyError host-unsupported: none is
 */
export async function readyNetwork(): Promise<DemoNetwork> {
  if (!hasReadyNetwork()) {
    throw new UnderstudyError(
      'host-unsupported',
      'without root the demo needs a bridge and taps made beforehand: once as root, ' +
        '`understudy demo --make-network $USER`',
    );
  }
  return {
    name: BRIDGE,
    prefix: [],
    tap: demoTaps,
    replication: `127.0.0.1:${await freePort()}`,
    guestAddress: GUEST_ADDRESS,
    cutLink: cannotCut,
    mendLink: cannotCut,
    remove: () => {},
  };
}

/** Makes it, as root. @throws UnderstudyError host-unsupported */
export function makeReadyNetwork(user: string): void {
  const { uid } = userOf(user);
  removeReadyNetwork();
  try {
    ip('link', 'add', BRIDGE, 'type', 'bridge', ...BRIDGE_OPTIONS);
    for (const tap of TAPS) {
      ip('tuntap', 'add', 'dev', tap, 'mode', 'tap', 'vnet_hdr', 'user', uid);
      ip('link', 'set', tap, 'master', BRIDGE);
      ip('link', 'set', tap, 'up');
    }
    ip('addr', 'add', CLIENT_ADDRESS, 'dev', BRIDGE);
    ip('link', 'set', BRIDGE, 'up');
  } catch (cause) {
    removeReadyNetwork();
    throw new UnderstudyError(
      'host-unsupported',
      `cannot make the demo's bridge and taps: ${messageOf(cause)}; it takes root, and the ` +
        "kernel's bridge and tun modules",
      { cause },
    );
  }
}

/** What of it is there. @throws Error what ip(8) says */
export function removeReadyNetwork(): void {
  const here = readFileSync('/proc/self/net/dev', 'utf8');
  for (const name of [...TAPS, BRIDGE]) {
    if (here.includes(`${name}:`)) ip('link', 'delete', name);
  }
}

/** Whether others than root may open taps, as udev has it. */
export function tunIsOpen(): boolean {
  return (statSync('/dev/net/tun').mode & 0o006) === 0o006;
}

function userOf(name: string): { uid: string } {
  const { stdout } = spawnSync('getent', ['passwd', name], { encoding: 'utf8' });
  const uid = (stdout ?? '').split(':')[2];
  if (uid !== undefined) return { uid };
  throw new UnderstudyError('usage', `this host has no user "${name}"`);
}

function cannotCut(): never {
  throw new UnderstudyError('host-unsupported', 'only root can cut the link of a demo');
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}
