// SPDX-License-Identifier: Apache-2.0
/**
 * A pair under load of which one process is killed at one place, and what must hold
 * then: nothing has left that the backup had not stored, one VM goes on, and the
 * client's one connection loses nothing.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { killWithGdb } from './gdb.ts';
import { disksHold } from './held-disks.ts';
import type { KillPoint } from './kill-points.ts';
import { annoy, NumberedLoad, REMARK } from './numbered-load.ts';
import { Pair, type Side } from './pair.ts';
import {
  isOneLog,
  logAsNoted,
  protectedLog,
  type StoredOutputs,
  storedOutputs,
} from './stored-log.ts';
import type { Guest } from './workloads.ts';

export const EPOCH_PROTOCOLS = ['remus', 'kemari', 'kemari-every'] as const;
/** Nobody is declared dead for being stopped by a debugger; a closed connection still tells. */
export const PATIENT = [
  'heartbeat_ms = 10000',
  'heartbeat_missed = 100',
  'stuck_ms_max = 3600000',
  'lag_ms_max = 60000',
];
const HANG_TIMEOUT_MS = '60000';
const BOOT_TIMEOUT_MS = 120_000;
const KILL_TIMEOUT_MS = 30_000;
const WINDOW = 4;
const ANSWERS = 20;
/** Outputs held count as settled when none has left for so long. */
const SETTLED_MS = 150;

export interface KilledPairOptions {
  readonly point: KillPoint;
  /** Number of the passage through the place, under load, from 1. */
  readonly passage: number;
  readonly seed: number;
  readonly guest: Guest;
  /** A folder for this pair alone. */
  readonly dir: string;
  /** One by checkpoint: the disks of both sides are looked at, too. */
  readonly protocol?: string;
}

export interface Figures {
  /** Packets out of the primary's tap when its pair was broken. */
  readonly left: number;
  /** Packets in the log that the backup had stored at the kill. */
  readonly stored: number;
  readonly answers: number;
}

export async function playKill(options: KilledPairOptions): Promise<Figures> {
  const play = new KilledPair(options);
  try {
    return await play.run();
  } finally {
    await play.end();
  }
}

class KilledPair {
  readonly #o: KilledPairOptions;
  readonly #pair: Pair;
  readonly #killed: Side;
  /** How much log the backup had stored at the kill. */
  readonly #note: string;
  /** Last words of daemons that have ended. */
  readonly #ends = new Map<Side, string>();
  #load: NumberedLoad | null = null;
  /** Answers that the client had before the kill. */
  #answered = 0;

  constructor(options: KilledPairOptions) {
    this.#o = options;
    const { point, dir, guest, protocol } = options;
    this.#killed = point.side;
    this.#note = join(dir, 'note');
    const env = { UNDERSTUDY_HANG_TIMEOUT_MS: HANG_TIMEOUT_MS };
    const lines = protocol === undefined ? [] : [`protocol = "${protocol}"`];
    this.#pair = Pair.start(dir, guest, [...PATIENT, ...lines], {
      env: { primary: env, backup: env },
    });
    for (const side of ['primary', 'backup'] as const) {
      void this.#pair.ended(side).then(({ stderr }) => this.#ends.set(side, stderr));
    }
  }

  async run(): Promise<Figures> {
    const pair = this.#pair;
    const boot = (): boolean => {
      assert.is(this.#ends.size, 0, [...this.#ends.values()].join(''));
      return pair.console('primary').includes('listening');
    };
    await pair.until('the service listens', boot, BOOT_TIMEOUT_MS);
    const load = new NumberedLoad(pair, this.#o.seed, WINDOW);
    this.#load = load;
    annoy(pair);
    await load.more(ANSWERS);
    await pair.until('console output', () => pair.console('primary').includes(REMARK));
    assert.is(pair.packetsFrom('backup'), 0, 'packets out of the backup before the kill');
    const figures =
      this.#killed === 'primary' ? await this.#killPrimary() : await this.#killBackup();
    await load.more(ANSWERS);
    await load.finish();
    if (this.#killed === 'primary') await isOneLog(protectedLog(pair.stateDir('backup')));
    if (this.#o.protocol !== undefined) await this.#disks(load.answered);
    return { ...figures, answers: load.answered };
  }

  async end(): Promise<void> {
    this.#load?.end();
    await this.#pair.end();
  }

  /** As a failure of both hosts now would leave them. */
  async #disks(answered: number): Promise<void> {
    const survivor = this.#killed === 'primary' ? 'backup' : 'primary';
    const qemu = await this.#qemuPid(survivor);
    this.#pair.signal(survivor, 'SIGKILL');
    await this.#pair.until('its QEMU is gone', () => !isRunning(qemu));
    const { dir, seed } = this.#o;
    disksHold(dir, this.#killed, seed, this.#answered);
    disksHold(dir, survivor, seed, answered);
  }

  async #killPrimary(): Promise<{ left: number; stored: number }> {
    const pair = this.#pair;
    const qemu = await this.#qemuPid('primary');
    await this.#kill();
    await this.#isGone('primary', qemu);
    const { left, stored } = await this.#nothingUncoveredLeft('primary');
    await this.#goesOnAlone('backup');
    // What the backup takes for sent it does not send again: it must have left.
    const { knownLeft } = await storedOutputs(protectedLog(pair.stateDir('backup')));
    assert.ok(knownLeft <= left, `${knownLeft} packets taken for sent, ${left} were`);
    return { left, stored };
  }

  async #killBackup(): Promise<{ left: number; stored: number }> {
    const pair = this.#pair;
    const qemu = await this.#qemuPid('backup');
    // Once it has won the fence the primary may release alone: it must not win yet.
    pair.hideArbiter();
    await this.#kill();
    await this.#isGone('backup', qemu);
    await pair.until('the primary holds its outputs', async () => {
      const status = await pair.status('primary');
      const held = Number(status?.outputs) - Number(status?.outputs_released);
      // A guest that waits for a commit may have none.
      const enough = held > 0 || this.#o.protocol !== undefined;
      return /outputs are held: .*not reachable/.test(String(status?.reason)) && enough;
    });
    let { packets } = pair.leftFrom('primary');
    let sinceMs = Date.now();
    await pair.until('no more packets leave', () => {
      const now = pair.packetsFrom('primary');
      if (now !== packets) sinceMs = Date.now();
      packets = now;
      return Date.now() - sinceMs >= SETTLED_MS;
    });
    const figures = await this.#nothingUncoveredLeft('primary');
    pair.showArbiter();
    await this.#goesOnAlone('primary');
    assert.is(pair.packetsFrom('backup'), 0, 'packets out of the backup that died');
    return figures;
  }

  /** The invariant: packets and console bytes that left are in log that was stored. */
  async #nothingUncoveredLeft(from: Side): Promise<{ left: number; stored: number }> {
    const pair = this.#pair;
    const left = pair.leftFrom(from);
    const stored = await this.#storedAtTheKill();
    const shown = pair.console(from);
    const { packets } = stored;
    // A primary's daemon goes on, too, when its QEMU stands still: it may hear of more
    // that is stored, and show it. What it had shown before must be stored already.
    const atTheKill = from === this.#killed ? shown.slice(0, this.#consoleAtTheKill()) : shown;
    assert.ok(
      left.packets <= packets.length,
      `${left.packets} packets have left, the backup's log has ${packets.length}`,
    );
    // They leave in order: so these must be the first ones of the log.
    const bytes = packets.slice(0, left.packets).reduce((sum, length) => sum + length, 0);
    assert.is(left.bytes, bytes, `bytes of the ${left.packets} packets that left`);
    const all = await storedOutputs(protectedLog(pair.stateDir('backup')));
    for (const [left, log] of [
      [atTheKill, stored.console],
      [shown, all.console],
    ] as const) {
      assert.ok(
        log.startsWith(left),
        `${left.length} console bytes have left, the log's ${log.length} begin otherwise`,
      );
    }
    return { left: left.packets, stored: packets.length };
  }

  #storedAtTheKill(): Promise<StoredOutputs> {
    const { point, dir } = this.#o;
    const log = protectedLog(this.#pair.stateDir('backup'));
    // A backup's daemon goes on storing, and acknowledging, when its QEMU dies.
    const goesOn = point.side === 'backup' && point.process === 'QEMU';
    return storedOutputs(goesOn ? log : logAsNoted(this.#note, join(dir, 'as-noted')));
  }

  #consoleAtTheKill(): number {
    return Number(readFileSync(this.#consoleNote, 'latin1'));
  }

  get #consoleNote(): string {
    return `${this.#note}.console`;
  }

  async #isGone(side: Side, qemu: number): Promise<void> {
    const { signal, code } = await this.#pair.ended(side);
    if (this.#o.point.process === 'daemon') assert.is(signal, 'SIGKILL', 'what ended the daemon');
    else assert.ok(code !== 0, 'a daemon whose QEMU died fails');
    await this.#pair.until(`QEMU of the ${side} is gone`, () => !isRunning(qemu));
    assert.is(await this.#pair.status(side), null, `the ${side} is gone`);
  }

  async #goesOnAlone(side: Side): Promise<void> {
    await this.#pair.until(`the ${side} goes on alone`, async () => {
      const status = await this.#pair.status(side);
      assert.ok(status !== null, `the ${side} has ended too`);
      return status?.state === 'needs-backup';
    });
  }

  async #qemuPid(side: Side): Promise<number> {
    return Number((await this.#pair.status(side))?.qemu_pid);
  }

  async #kill(): Promise<void> {
    const { point, passage, dir } = this.#o;
    this.#answered = this.#load?.answered ?? 0;
    const status = await this.#pair.status(point.side);
    await killWithGdb({
      pid: Number(point.process === 'QEMU' ? status?.qemu_pid : status?.pid),
      stops: point.stops,
      passage,
      ...(point.process === 'daemon' ? { library: 'kvm_exit_log' } : {}),
      // In this order: the log goes on growing, unless its daemon stands still.
      before:
        `stat -c %s '${this.#pair.stateDir('primary')}/console.log' >'${this.#consoleNote}'; ` +
        `stat -c '%s %n' '${this.#logs}'/*/*.udl >'${this.#note}'`,
      script: join(dir, 'kill.gdb'),
      timeoutMs: KILL_TIMEOUT_MS,
    });
    assert.ok(existsSync(this.#note), 'what the backup had stored is noted');
  }

  get #logs(): string {
    return join(this.#o.dir, 'state', 'pair-backup', 'log');
  }
}

export function isRunning(pid: number): boolean {
  try {
    // The state follows the command, which is in parentheses; a zombie is gone.
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
