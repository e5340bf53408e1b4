// SPDX-License-Identifier: Apache-2.0
/**
 * Who keeps a guest's services serving: hears of them, from the guard in the guest and from probes
 * outside, has one restarted that failed, and resets the guest where that did not help. It never
 * fails over: a replica has the same fault.
 *
 * Every side hears, only the one that leads acts; so a survivor goes on where the other one was.
 */
import { Lines, SERVICES_MAX, type ServiceLine, type ServiceState } from './lines.ts';

export type OnFailure = 'report' | 'reset';

export interface GuardNumbers {
  /** There is one in the guest. */
  readonly agent: boolean;
  readonly silenceMs: number;
  readonly onSilence: OnFailure;
  /** HOST:PORT */
  readonly probes: readonly string[];
  readonly probeFailures: number;
  readonly onProbeFailure: OnFailure;
  /** After a power-on and a reset, what has not been up yet, or not spoken, boots for so long. */
  readonly bootMs: number;
  /** In an hour. */
  readonly resetsMax: number;
}

export interface GuardPorts {
  nowMs(): number;
  /** The live VM is here. */
  leads(): boolean;
  /** Outputs wait, so that silence is ours. */
  held(): boolean;
  /** Into the guard's port of the guest, through the log; false: not now. */
  type(text: string): boolean;
  /** The reset button, through the log; false: not now. */
  reset(): boolean;
  report(event: string, details: Readonly<Record<string, unknown>>): void;
}

/** `look` is to be called so often. */
export const LOOK_MS = 250;
/** A command may take so long to show. */
const AGAIN_MS = 2000;
/** What is under way of a guest that was reset says nothing of the next one. */
const LATE_MS = 3000;
const FLOODS_MS = 5000;
const HOUR_MS = 3_600_000;

interface Service {
  line: ServiceLine;
  /** When we had it restarted. */
  tries: number[];
}

interface Probe {
  readonly address: string;
  failures: number;
  isUp: boolean;
  /** It was, since the guest began. */
  wasUp: boolean;
  why: string | null;
}

export type AgentState = 'off' | 'waiting' | 'speaks' | 'silent' | 'floods';

export interface GuardFacts {
  readonly agent: AgentState;
  readonly lines: number;
  readonly malformed: number;
  readonly dropped_bytes: number;
  readonly services: readonly {
    readonly name: string;
    readonly state: ServiceState;
    readonly failures: number;
    readonly restarts: number;
    readonly restarts_max: number;
    readonly why: string;
  }[];
  readonly probes: readonly {
    readonly address: string;
    readonly state: 'waiting' | 'up' | 'failing' | 'down';
    readonly failures: number;
    readonly why: string | null;
  }[];
  /** By this side. */
  readonly restarts: number;
  readonly resets: number;
  readonly gave_up: string | null;
}

export class Guard {
  readonly #numbers: GuardNumbers;
  readonly #ports: GuardPorts;
  readonly #lines: Lines;
  readonly #services = new Map<string, Service>();
  readonly #probes: Probe[];
  #resets: number[] = [];
  #resetCount = 0;
  #restarts = 0;
  #gaveUp: string | null = null;
  #bootUntilMs: number;
  #deafUntilMs = Number.NEGATIVE_INFINITY;
  #lookedMs: number;
  /** Without a good line, as far as that is the guest's. */
  #silentMs = 0;
  #hasSpoken = false;
  /** Since the guest began. */
  #speaks = false;
  #isSilent = false;
  #floodedMs = Number.NEGATIVE_INFINITY;

  constructor(numbers: GuardNumbers, ports: GuardPorts) {
    this.#numbers = numbers;
    this.#ports = ports;
    const now = ports.nowMs();
    this.#lines = new Lines(now);
    this.#lookedMs = now;
    this.#bootUntilMs = now + numbers.bootMs;
    this.#probes = numbers.probes.map((address) => ({
      address,
      failures: 0,
      isUp: false,
      wasUp: false,
      why: null,
    }));
  }

  /** Bytes of the guard's port that may leave. */
  heard(bytes: Uint8Array): void {
    if (!this.#numbers.agent) return;
    const now = this.#ports.nowMs();
    const { droppedBytes } = this.#lines;
    for (const line of this.#lines.feed(bytes, now)) {
      if (now < this.#deafUntilMs) continue;
      this.#silentMs = 0;
      this.#hasSpoken = true;
      this.#speaks = true;
      if (this.#isSilent) this.#ports.report('guard-speaks', {});
      this.#isSilent = false;
      if ('service' in line) this.#told(line);
      else if ('done' in line) {
        const { done: service, status, ms } = line;
        this.#ports.report('service-restarted', { service, status, ms });
      }
    }
    if (this.#lines.droppedBytes === droppedBytes) return;
    if (!this.#floods) {
      const reason = 'the guard in the guest says more than is looked at; the rest is dropped';
      this.#ports.report('guard-floods', { reason });
    }
    this.#floodedMs = now;
  }

  /** A probe's answer: why it failed, or null. */
  probed(index: number, why: string | null): void {
    const probe = this.#probes[index];
    if (probe === undefined) return;
    const wasUp = probe.isUp;
    probe.why = why;
    probe.isUp = why === null;
    probe.wasUp ||= probe.isUp;
    probe.failures = why === null ? 0 : probe.failures + 1;
    if (probe.isUp && !wasUp) this.#ports.report('probe-up', { probe: probe.address });
    if (probe.failures !== this.#numbers.probeFailures) return;
    this.#ports.report('probe-down', { probe: probe.address, reason: `${probe.address}: ${why}` });
  }

  /** Whether probes are to be made: of the live VM, by the side that has it. */
  get probes(): boolean {
    return this.#ports.leads() && !this.#ports.held();
  }

  /** What is to be done about what does not come. */
  look(): void {
    const now = this.#ports.nowMs();
    // A daemon that stood still itself has heard nothing, and nothing follows from that.
    const passed = Math.min(now - this.#lookedMs, 2 * LOOK_MS);
    this.#lookedMs = now;
    if (!this.#ports.leads()) {
      // Once it does, it hears for as long before it calls that silence.
      this.#silentMs = 0;
      this.#isSilent = false;
      return;
    }
    if (this.#numbers.agent && !this.#ports.held()) this.#silentMs += passed;
    this.#lookForSilence();
    const boots = now < this.#bootUntilMs;
    const down = this.#probes.find((probe) => this.#isDown(probe) && (probe.wasUp || !boots));
    if (down !== undefined && this.#numbers.onProbeFailure === 'reset') {
      this.#reset(`${down.address} does not answer: ${down.why}`);
    } else if (this.#isSilent && this.#hasSpoken && this.#numbers.onSilence === 'reset') {
      this.#reset('the guard in the guest is silent');
    }
  }

  #lookForSilence(): void {
    const { agent, silenceMs } = this.#numbers;
    if (!agent || this.#isSilent || this.#silentMs < silenceMs) return;
    if (!this.#speaks && this.#ports.nowMs() < this.#bootUntilMs) return;
    this.#isSilent = true;
    this.#ports.report('guard-silent', {
      reason: `nothing came from the guard in the guest for ${silenceMs / 1000} s`,
    });
  }

  facts(): GuardFacts {
    const { good, malformed, droppedBytes } = this.#lines;
    return {
      agent: this.#agentState(),
      lines: good,
      malformed,
      dropped_bytes: droppedBytes,
      services: [...this.#services.values()].map((service) => ({
        name: service.line.service,
        state: service.line.state,
        failures: service.line.failures,
        restarts: this.#used(service),
        restarts_max: service.line.max,
        why: service.line.why,
      })),
      probes: this.#probes.map((probe) => ({
        address: probe.address,
        state: this.#probeState(probe),
        failures: probe.failures,
        why: probe.why,
      })),
      restarts: this.#restarts,
      resets: this.#resetCount,
      gave_up: this.#gaveUp,
    };
  }

  #agentState(): AgentState {
    if (!this.#numbers.agent) return 'off';
    if (this.#floods) return 'floods';
    if (this.#isSilent) return 'silent';
    return this.#hasSpoken ? 'speaks' : 'waiting';
  }

  #probeState(probe: Probe): 'waiting' | 'up' | 'failing' | 'down' {
    if (probe.isUp) return 'up';
    if (this.#isDown(probe)) return 'down';
    return probe.failures === 0 ? 'waiting' : 'failing';
  }

  #isDown({ failures }: Probe): boolean {
    return failures >= this.#numbers.probeFailures;
  }

  get #floods(): boolean {
    return this.#ports.nowMs() - this.#floodedMs < FLOODS_MS;
  }

  #told(line: ServiceLine): void {
    const known = this.#services.get(line.service);
    // A seventeenth name is no service: a guard has sixteen at most.
    if (known === undefined && this.#services.size >= SERVICES_MAX) {
      this.#lines.malformed += 1;
      return;
    }
    const service = known ?? { line, tries: [] };
    const before = known?.line.state ?? null;
    service.line = line;
    this.#services.set(line.service, service);
    if (line.state !== before && (line.state === 'up' || line.state === 'failed')) {
      const event = line.state === 'up' ? 'service-up' : 'service-failed';
      const why = line.why === '' ? {} : { reason: `${line.service}: ${line.why}` };
      if (line.state !== 'up' || before !== null) {
        this.#ports.report(event, { service: line.service, ...why });
      }
    }
    if (line.state === 'failed') this.#restart(service);
    const all = [...this.#services.values()];
    if (all.every(({ line: { state } }) => state === 'up')) this.#gaveUp = null;
  }

  /** Restarts of the time that the file says, as the guest counts them or as we do. */
  #used({ line, tries }: Service): number {
    const since = this.#ports.nowMs() - line.within * 1000;
    return Math.max(line.restarts, tries.filter((at) => at >= since).length);
  }

  #restart(service: Service): void {
    const now = this.#ports.nowMs();
    const { line, tries } = service;
    if (!this.#ports.leads() || now - (tries.at(-1) ?? -AGAIN_MS) < AGAIN_MS) return;
    const used = this.#used(service);
    if (used >= line.max) {
      const why = `${line.service} failed again after ${used} restarts: ${line.why}`;
      if (line.reset) this.#reset(why);
      else this.#giveUp(`${why}; its file says not to reset the guest`);
      return;
    }
    // The newline ends what a side that died may have said a part of.
    if (!this.#ports.type(`\nrestart ${line.service} ${this.#restarts + 1}\n`)) return;
    this.#restarts += 1;
    service.tries = [...tries.slice(-100), now];
    this.#ports.report('service-restart', {
      service: line.service,
      reason: `${line.service}: ${line.why} (${used + 1} of ${line.max})`,
    });
  }

  #reset(why: string): void {
    const now = this.#ports.nowMs();
    this.#resets = this.#resets.filter((at) => now - at < HOUR_MS);
    const { resetsMax, bootMs } = this.#numbers;
    if (this.#resets.length >= resetsMax) {
      this.#giveUp(`${why}; the guest was reset ${resetsMax} times in an hour`);
      return;
    }
    if (!this.#ports.reset()) return;
    this.#resets.push(now);
    this.#resetCount += 1;
    this.#gaveUp = null;
    this.#services.clear();
    for (const probe of this.#probes) {
      Object.assign(probe, { failures: 0, isUp: false, wasUp: false, why: null });
    }
    this.#silentMs = 0;
    this.#speaks = false;
    this.#isSilent = false;
    this.#bootUntilMs = now + bootMs;
    this.#deafUntilMs = now + LATE_MS;
    this.#ports.report('guest-reset', { reason: why });
  }

  #giveUp(why: string): void {
    if (this.#gaveUp === null) this.#ports.report('guard-gave-up', { reason: why });
    this.#gaveUp = why;
  }
}
