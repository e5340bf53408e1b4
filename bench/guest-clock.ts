// SPDX-License-Identifier: Apache-2.0
/** A guest's clock against this host's, read from outside by ICMP timestamps. */
import { fileURLToPath } from 'node:url';
import { DemoChild } from '../src/lab/child.ts';

export interface ClockSample {
  /** Host ms since midnight UTC. */
  readonly sent_ms: number;
  readonly rtt_ms: number;
  /** Whole ms since midnight UTC. */
  readonly guest_ms: number;
  /** When the answer was read, on `performance.now()`'s scale. */
  readonly read_ms: number;
}

const DAY_MS = 86_400_000;

/**
 * How far the guest's clock was ahead, the median of the quicker answers. A PC's clock tells whole seconds,
 * so a guest's is off by up to one from its power-on, as on hardware: what an
 * operator wants is that this does not change.
 */
export function baselineMs(samples: readonly ClockSample[]): number {
  const quick = [...samples].sort((a, b) => a.rtt_ms - b.rtt_ms);
  const ahead = quick
    .slice(0, Math.ceil(quick.length / 2))
    .map((one) => sinceMidnight(one.guest_ms - one.sent_ms) + 0.5 - one.rtt_ms / 2)
    .sort((a, b) => a - b);
  const median = ahead[ahead.length >> 1];
  if (median === undefined) throw new Error('the guest does not answer ICMP timestamps');
  return median;
}

/**
 * Guest minus host minus baseline, in ms. The guest read its clock at an unknown
 * moment of the round trip and cut off the fraction: 0 when the two agree as far as
 * can be known, else by how much they differ at least.
 */
export function offsetMs(
  { sent_ms, rtt_ms, guest_ms }: Omit<ClockSample, 'read_ms'>,
  baseline: number,
): number {
  const ahead = sinceMidnight(guest_ms - sent_ms) - baseline;
  if (ahead + 1 < 0) return ahead + 1;
  return ahead > rtt_ms ? ahead - rtt_ms : 0;
}

function sinceMidnight(ms: number): number {
  return ms - Math.round(ms / DAY_MS) * DAY_MS;
}

export class GuestClock {
  readonly samples: ClockSample[] = [];
  readonly #child: DemoChild;

  constructor(prefix: readonly string[], address: string, intervalS: number) {
    const program = fileURLToPath(new URL('./icmp-timestamps.py', import.meta.url));
    this.#child = new DemoChild(prefix, {
      words: ['/usr/bin/python3', program, address, String(intervalS)],
      onStdout: (line) =>
        this.samples.push({ ...(JSON.parse(line) as ClockSample), read_ms: performance.now() }),
    });
  }

  /** @throws Error when it ended by itself */
  async stop(): Promise<void> {
    if (this.#child.end !== null) throw new Error(this.#child.lastWords);
    this.#child.kill();
    await this.#child.ended;
  }
}
