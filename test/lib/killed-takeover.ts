// SPDX-License-Identifier: Apache-2.0
/**
 * A pair by checkpoint under load whose primary dies, and whose backup dies at a place of its
 * take-over: nobody goes on, nothing left a backup that was not live, and its disk is at a
 * commit, with all that the client was told of.
 */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { TAKE_OVERS } from './epoch-kill-points.ts';
import { killWithGdb } from './gdb.ts';
import { disksHold } from './held-disks.ts';
import type { Play } from './kill-suite.ts';
import { isRunning, PATIENT } from './killed-pair.ts';
import { NumberedLoad } from './numbered-load.ts';
import { Pair } from './pair.ts';

const BOOT_TIMEOUT_MS = 120_000;
const KILL_TIMEOUT_MS = 30_000;
const WINDOW = 4;
const ANSWERS = 20;

/** @returns answers that the client had */
export async function playTakeOver(
  { point, seed, guest, dir }: Play<(typeof TAKE_OVERS)[number]>,
  protocol: string,
): Promise<number> {
  const pair = Pair.start(dir, guest, [...PATIENT, `protocol = "${protocol}"`]);
  let load: NumberedLoad | null = null;
  try {
    const listens = (): boolean => pair.console('primary').includes('listening');
    await pair.until('the service listens', listens, BOOT_TIMEOUT_MS);
    load = new NumberedLoad(pair, seed, WINDOW);
    await load.more(ANSWERS);
    const status = await pair.status('backup');
    const qemus = [status, await pair.status('primary')].map((one) => Number(one?.qemu_pid));
    await killWithGdb({
      pid: Number(point.process === 'QEMU' ? status?.qemu_pid : status?.pid),
      stops: point.stops,
      passage: 1,
      ...(point.process === 'daemon' ? { library: 'kvm_exit_log' } : {}),
      armed: () => pair.signal('primary', 'SIGKILL'),
      before: 'true',
      script: join(dir, 'kill.gdb'),
      timeoutMs: KILL_TIMEOUT_MS,
    });
    const { signal, code } = await pair.ended('backup');
    if (point.process === 'daemon') assert.is(signal, 'SIGKILL', 'what ended the daemon');
    else assert.ok(code !== 0, 'a daemon whose QEMU died fails');
    await pair.ended('primary');
    await pair.until('both QEMUs are gone', () => !qemus.some(isRunning));
    if (point.isLive !== true) assert.is(pair.packetsFrom('backup'), 0, 'packets of the backup');
    const { answered } = load;
    load.end();
    for (const side of ['primary', 'backup'] as const) disksHold(dir, side, seed, answered);
    return answered;
  } finally {
    load?.end();
    await pair.end();
  }
}
