// SPDX-License-Identifier: Apache-2.0
/** The guard of a daemon (guard/guard.ts) with a clock, a replica and sockets. */
import { Guard, type GuardFacts, LOOK_MS } from '../guard/guard.ts';
import { probeTcp } from '../guard/probe.ts';
import type { Report } from '../replica/ports.ts';
import type { Replica } from '../replica/replica.ts';
import type { VmConfig } from '../vm/config.ts';
import type { GuardConfig } from '../vm/config-guard.ts';
import { hostClock } from './adapters.ts';

type Watched = Pick<Replica, 'leads' | 'facts' | 'phase' | 'typeGuard' | 'reset'>;

export class GuardWatch {
  readonly #config: GuardConfig;
  readonly #guard: Guard;
  readonly #timers: NodeJS.Timeout[] = [];
  /** Probes that wait for an answer. */
  readonly #asked = new Set<number>();
  /** Null: it is not there yet, and does not lead. */
  #replica: Watched | null = null;

  /** Null where VM.toml has no guard. */
  static of({ guard }: VmConfig, report: Report): GuardWatch | null {
    return guard === null ? null : new GuardWatch(guard, report);
  }

  private constructor(config: GuardConfig, report: Report) {
    this.#config = config;
    const probes = config.probes.map(({ host, port }) =>
      host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    );
    this.#guard = new Guard(
      { ...config, probes },
      {
        nowMs: () => hostClock.nowMs(),
        leads: () => this.#replica?.leads ?? false,
        held: () => this.#isHeld(),
        type: (text) => this.#replica?.typeGuard(Buffer.from(text)) ?? false,
        reset: () => this.#replica?.reset() ?? false,
        report,
      },
    );
  }

  /** From now on it acts, where the replica leads. */
  watch(replica: Watched): void {
    this.#replica = replica;
    this.#timers.push(setInterval(() => this.#guard.look(), LOOK_MS));
    const { probes, probeEveryMs } = this.#config;
    if (probes.length > 0) this.#timers.push(setInterval(() => this.#probe(), probeEveryMs));
  }

  heard(bytes: Buffer): void {
    this.#guard.heard(bytes);
  }

  facts(): GuardFacts {
    return this.#guard.facts();
  }

  close(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    this.#replica = null;
  }

  /** While outputs wait, what the guest says has not come yet. */
  #isHeld(): boolean {
    if (this.#replica === null) return true;
    return this.#replica.phase.state === 'syncing' || this.#replica.facts().outputsStopped !== null;
  }

  #probe(): void {
    for (const [index, { host, port }] of this.#config.probes.entries()) {
      if (!this.#guard.probes || this.#asked.has(index)) continue;
      this.#asked.add(index);
      void probeTcp(host, port, this.#config.probeTimeoutMs).then((why) => {
        this.#asked.delete(index);
        // What was asked before outputs were held, or the side was lost, says nothing.
        if (this.#guard.probes) this.#guard.probed(index, why);
      });
    }
  }
}
