// SPDX-License-Identifier: Apache-2.0
/** The replication link of a pair, its loopback device: what it carried, and how slow it is (tc(8)). */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { messageOf, UnderstudyError } from '../../src/base/errors.ts';
import type { DemoNetwork } from '../../src/lab/netns.ts';

/** What a switch's port would queue, in ms at full rate; more is dropped. */
const QUEUE_MS = 50;

/**
 * Bounds what the two sides send to each other, both directions together: loopback has one
 * queue. Nearly all of it goes to the backup, so it is that direction's bandwidth.
 * @throws UnderstudyError host-unsupported
 */
export function shapeLoopback(network: DemoNetwork, megabitPerS: number): void {
  // A bucket of a millisecond, but no less than one of loopback's large packets.
  const burst = Math.max(70_000, Math.round((megabitPerS * 1e6) / 8 / 1000));
  const [file = '', ...prefix] = network.prefix;
  const shape = ['rate', `${megabitPerS}mbit`, 'burst', `${burst}b`, 'latency', `${QUEUE_MS}ms`];
  const words = ['tc', 'qdisc', 'replace', 'dev', 'lo', 'root', 'tbf', ...shape];
  try {
    execFileSync(file, [...prefix, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (cause) {
    throw new UnderstudyError(
      'host-unsupported',
      `the link cannot be shaped (${messageOf(cause)}): it takes tc (package iproute2) and a ` +
        'kernel with sch_tbf',
      { cause },
    );
  }
}

/**
 * Bytes that it has carried since the network was made, both directions together.
 * @param pid of a process in that network. @returns null: it is gone
 */
export function loopbackBytes(pid: number | undefined): number | null {
  try {
    const received = /^\s*lo:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/net/dev`, 'utf8'))?.[1];
    return received === undefined ? null : Number(received);
  } catch {
    return null;
  }
}
