// SPDX-License-Identifier: Apache-2.0
/** The replication link of a pair, made as slow as a wire: tc(8) on its loopback device. */
import { execFileSync } from 'node:child_process';
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
