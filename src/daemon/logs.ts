// SPDX-License-Identifier: Apache-2.0
/** The exit logs of a daemon, in its state folder: one for each VM that it has run. */
import { readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LogFile } from '../log/log-file.ts';
import { logName } from '../recording/past.ts';
import { segmentBytesFor } from '../retain/log-trim.ts';
import type { Ground } from './ground.ts';

/** The exit log of one QEMU, from power-on or a checkpoint, through take-overs to its end. */
export function openLog(ground: Ground, vmId: Buffer, term: number, firstSequence = 0n): LogFile {
  const dir = ground.stateDir.logDir(logName(vmId.toString('hex'), term));
  forgetOldLogs(ground, dirname(dir));
  // A backup that was lost before power-on and joins again: nothing is in it yet.
  rmSync(dir, { recursive: true, force: true });
  const bytesMax = ground.replication.logMibMax * 2 ** 20;
  const log = new LogFile(dir, {
    segmentBytesMax: segmentBytesFor(bytesMax),
    vmId,
    term,
    firstSequence,
    qemuBuildId: ground.qemu.buildId,
    agentVersion: ground.facts.agentVersion,
  });
  ground.retention.keep(dir);
  return log;
}

/** Beside the new one, however often roles swap. */
const OLD_LOGS_KEPT = 2;

function forgetOldLogs(ground: Ground, folder: string): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return; // there is none yet
  }
  const aged = names
    .map((name) => ({ dir: join(folder, name), at: statSync(join(folder, name)).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { dir } of aged.slice(OLD_LOGS_KEPT)) {
    ground.retention.forget(dir);
    rmSync(dir, { recursive: true });
  }
}
