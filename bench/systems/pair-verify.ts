// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a run whose backup executed it was what it claims to be: the log that the primary
 * kept, with the disks as at power-on, is put together as a recording, and replays with equal
 * digests, console and disks; and both sides' disks are the same bytes when the guest has
 * powered off. Where the backup does not execute: image-verify.ts.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../src/base/errors.ts';
import { writeJson } from '../../src/base/json-file.ts';
import { sincePowerOn } from '../../src/base/position.ts';
import type { DaemonStatus } from '../../src/daemon/facts.ts';
import { LogEndFinder } from '../../src/log/log-end.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import {
  createRecording,
  finishRecording,
  openRecording,
  sameDisks,
} from '../../src/recording/folder.ts';
import type { VmConfig } from '../../src/vm/config.ts';
import { hashDisks } from '../../src/vm/disk.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import type { Harvest } from './system.ts';
import { understudy, VM_NAME } from './vm.ts';

/** What a daemon knows of its VM's power-on and keeps nowhere. */
export interface PowerOn {
  /** 32 hex digits. */
  readonly vmId: string;
  readonly rtcBase: string;
}

const REPLAY_MAX_MS = 600_000;

/** Keeps what the VM is about to start from. @returns when the images are copied */
export async function keepPowerOn(dir: string, config: VmConfig): Promise<void> {
  await createRecording(recordingIn(dir), config, await findQemu(), () => {});
}

function recordingIn(dir: string): string {
  return join(dir, 'recording');
}

/** Reads the VM's id from its daemon, and its clock at power-on from its QEMU's own words. */
export async function readPowerOn({ vm_id, qemu_pid }: DaemonStatus): Promise<PowerOn | null> {
  if (vm_id === null || qemu_pid === null) return null;
  const words = readFileSync(`/proc/${qemu_pid}/cmdline`, 'utf8').split('\0');
  const rtc = words[words.indexOf('-rtc') + 1] ?? '';
  const rtcBase = /^base=([^,]+)/.exec(rtc)?.[1];
  return rtcBase === undefined ? null : { vmId: vm_id, rtcBase };
}

export async function sidesHaveEqualDisks(dir: string): Promise<boolean> {
  const [primary, backup] = await Promise.all(
    ['primary', 'backup'].map((side) => disksOf(dir, side)),
  );
  return sameDisks(primary ?? [], backup ?? []);
}

function disksOf(dir: string, side: string): ReturnType<typeof hashDisks> {
  return hashDisks([join(dir, side, 'disk.raw')]);
}

/** @param powerOn null: the daemon was never seen. @param disks whether both sides' are equal */
export async function verifyLog(
  dir: string,
  powerOn: PowerOn | null,
  disks: boolean,
): Promise<Harvest> {
  if (powerOn === null) {
    const problem = 'the primary did not say which VM it runs: nothing can be verified';
    return { facts: {}, verification: { replay: false, disks: null }, problem };
  }
  const facts = await completeRecording(dir, powerOn, await disksOf(dir, 'primary'));
  const fault = await replayFault(recordingIn(dir));
  return {
    facts,
    verification: { replay: fault === null, disks },
    problem:
      fault !== null
        ? `the log that the primary kept does not replay: ${fault}`
        : disks
          ? null
          : "the two sides' disks differ after the power-off",
  };
}

/** Moves the primary's log and console into the recording begun at power-on. */
async function completeRecording(
  dir: string,
  { vmId, rtcBase }: PowerOn,
  disks: Awaited<ReturnType<typeof hashDisks>>,
): Promise<Record<string, number>> {
  const begun = openRecording(recordingIn(dir));
  const { paths } = begun;
  const state = join(dir, 'state', `${VM_NAME}-primary`);
  rmSync(paths.log, { recursive: true });
  renameSync(join(state, 'log', vmId), paths.log);
  copyFileSync(join(state, 'console.log'), paths.console);
  writeJson(paths.manifest, { ...begun.manifest, vm_id: vmId, rtc_base: rtcBase });
  const finder = new LogEndFinder();
  let records = 0;
  let batches = 0;
  let log_bytes = 0;
  const options = { vmId: Buffer.from(vmId, 'hex'), tail: 'whole' } as const;
  for await (const { batch } of new LogReader(paths.log, options)) {
    finder.see(batch);
    records += batch.header.recordCount;
    batches += 1;
    log_bytes += batch.frame.length;
  }
  const end = finder.end();
  if (end === null) throw new Error('the log of the primary has no END');
  finishRecording(begun, {
    reason: end.reason,
    point: end.point,
    vtimeNs: end.vtimeNs,
    digest: end.digest,
    disks,
    records,
    batches,
    log_bytes,
    console_bytes: readFileSync(paths.console).length,
    wall_s: 0,
  });
  return { instructions: Number(sincePowerOn(end.point)), log_bytes, records, batches };
}

/** Why it does not replay; null: it does, and digest, console and disks are equal. */
function replayFault(recording: string): Promise<string | null> {
  const [file = '', ...words] = understudy('replay', recording, '--verify', '--json');
  return new Promise((resolve) => {
    const options = { timeout: REPLAY_MAX_MS, killSignal: 'SIGKILL' } as const;
    execFile(file, words, options, (error, _stdout, stderr) => {
      if (error === null) resolve(null);
      else resolve(stderr.trim().slice(-400) || messageOf(error));
    });
  });
}
