// SPDX-License-Identifier: Apache-2.0
/**
 * Ours, replaying what `record` recorded in the same round. A replay is told what the guest
 * will print long before it prints it, so when the guest says something is found out from
 * its position: that of the batch with those bytes, and when the replay has passed it.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { charOut } from '../../native/kvm-exit-log/index.ts';
import { createLogger } from '../../src/base/logger.ts';
import { comparePoints, POWER_ON, type Point } from '../../src/base/position.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { openRecording } from '../../src/recording/folder.ts';
import { type ReplayResult, replay } from '../../src/replay/replayer.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { recordingOf } from './record.ts';
import { NOTHING, type RunningVm, type System } from './system.ts';

const POLL_MS = 10;

export function replaySystem(): System {
  return {
    name: 'replay',
    title: 'ours, replaying',
    baseline: 'plain',
    verified: true,
    replays: 'record',
    absent: async () => null,
    async start(dir) {
      const recording = recordingOf(join(dirname(dir), 'record'));
      if (!existsSync(join(recording, 'end.json'))) {
        throw new Error('record left no whole recording in this round');
      }
      return startReplay(recording, await sayings(recording));
    },
    // It has ended well: digest, console and disks were equal.
    harvest: async () => ({ ...NOTHING, verification: { replay: true, disks: true } }),
  };
}

/** What the guest said, and by which instruction it had said it. */
interface Saying {
  readonly point: Point;
  readonly text: string;
}

async function sayings(recording: string): Promise<Saying[]> {
  const { paths, manifest } = openRecording(recording);
  const options = { vmId: Buffer.from(manifest.vm_id, 'hex'), tail: 'whole' } as const;
  const found: Saying[] = [];
  for await (const { batch } of new LogReader(paths.log, options)) {
    const bytes = charOut(batch.frame, 0, batch.frame.length);
    if (bytes.length === 0) continue;
    found.push({ point: batch.header.horizon.point, text: bytes.toString('latin1') });
  }
  return found;
}

async function startReplay(dir: string, said: readonly Saying[]): Promise<RunningVm> {
  const abort = new AbortController();
  let at = POWER_ON.point;
  let over = false;
  const startedMs = performance.now();
  const ended = replay(
    {
      dir,
      qemu: await findQemu(),
      logger: createLogger({ name: 'bench' }),
      verify: true,
      until: null,
      onConsole: () => {},
      onProgress: ({ point }) => {
        at = point;
      },
    },
    abort.signal,
  )
    .then(checkVerified)
    .finally(() => {
      over = true;
    });
  ended.catch(() => {}); // who waits for it is told
  const console = (): string =>
    said
      .filter(({ point }) => over || comparePoints(point, at) <= 0)
      .map(({ text }) => text)
      .join('');
  return {
    prefix: [],
    guestAddress: '',
    startedMs,
    console,
    async said(text) {
      while (!console().includes(text)) {
        if (over) {
          await ended;
          throw new Error(`the replay ended before "${text}"`);
        }
        await sleep(POLL_MS);
      }
      return performance.now();
    },
    pids: () => [process.pid],
    ended,
    async close() {
      abort.abort(new Error('the replay was ended'));
      await ended.catch(() => {});
    },
  };
}

/** @throws Error naming what differs */
function checkVerified(result: ReplayResult): void {
  const { stoppedAt, digest, consoleIdentical, disksIdentical } = result;
  if (stoppedAt !== 'end' || digest === null) throw new Error('the log has no END with a digest');
  if (consoleIdentical !== true) throw new Error('its console differs from the recorded one');
  if (disksIdentical !== true) throw new Error("its disks differ from the recording's");
}
