// SPDX-License-Identifier: Apache-2.0
/** A protected VM that tells its RTC, on two hosts whose clocks are not the same. */
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { guestPaths } from '#scripts/paths.mjs';
import { type DemoNetwork, makeNetwork } from '../../src/lab/netns.ts';
import {
  GuestRtc,
  initrdWithRtcClock,
  RTC_PORT,
  SAYS_READY,
  START_RTC_CLOCK,
  START_TICKS,
  TICK_PORT,
  TICKS_READY,
} from './guest-rtc.ts';
import { ShiftedClock } from './shifted-clock.ts';
import { type Host, TwoHosts } from './two-hosts.ts';

const START_MS = 60_000;

export interface ClockedOptions {
  readonly dir: string;
  /** Host b's clock less host a's. */
  readonly skewMs?: number;
  /** More lines of VM.toml's [replication]. */
  readonly replication?: readonly string[];
  readonly diskMib?: number;
}

export class ClockedHosts {
  readonly network: DemoNetwork;
  readonly hosts: TwoHosts;
  readonly clocks: Readonly<Record<Host, ShiftedClock>>;

  constructor(options: ClockedOptions) {
    const { dir, skewMs = 0, replication = [], diskMib } = options;
    const guest = guestPaths();
    if (guest === undefined) throw new Error('the reference guest is not built');
    mkdirSync(dir, { recursive: true });
    this.clocks = { a: new ShiftedClock(dir, 'a'), b: new ShiftedClock(dir, 'b', skewMs) };
    this.network = makeNetwork();
    this.hosts = new TwoHosts({
      dir,
      network: this.network,
      initrd: initrdWithRtcClock(guest.initrd, dir),
      shell: true,
      replication,
      ...(diskMib === undefined ? {} : { diskMib }),
      hostEnv: { a: this.clocks.a.env, b: this.clocks.b.env },
    });
  }

  /** Both daemons, the guest, and what tells its RTC. */
  async startRtc({ backupAfterMs = 0 } = {}): Promise<void> {
    this.hosts.start('a', 'primary');
    await sleep(backupAfterMs);
    this.hosts.start('b', 'backup');
    await this.hosts.until('a', 'protected', START_MS);
    await this.hosts.said('a', 'guest# ', START_MS);
    await this.type('a', START_RTC_CLOCK);
    await this.hosts.said('a', SAYS_READY, START_MS);
  }

  /** From now on gaps in the guest's timers are seen. Not while the other looks at the RTC. */
  async startTicks(host: Host): Promise<void> {
    await this.type(host, START_TICKS);
    await this.hosts.said(host, TICKS_READY, START_MS);
  }

  async type(host: Host, text: string): Promise<void> {
    const answer = await this.hosts.command(host, { cmd: 'console-input', text });
    if (answer?.ok !== true) throw new Error(`the console: ${JSON.stringify(answer)}`);
  }

  rtc(intervalS: number, prefix = this.network.prefix): GuestRtc {
    return new GuestRtc(prefix, this.network.guestAddress, RTC_PORT, intervalS);
  }

  ticks(intervalS: number): GuestRtc {
    return new GuestRtc(this.network.prefix, this.network.guestAddress, TICK_PORT, intervalS);
  }

  async end(): Promise<void> {
    await this.hosts.destroy();
    this.network.remove();
  }
}
