// SPDX-License-Identifier: Apache-2.0
/**
 * Segments: the format of the exit log on disk, its reading and writing side by side.
 * log-reader.ts iterates over it, log-file.ts and the courier append to it.
 *
 * A log is a folder of append-only files `000001.udl`, `000002.udl`, … Each begins
 * with a segment-header frame; then batches follow, the bytes that also go to the
 * backup. Sequences have no gap within and across files, and each batch names the
 * checksum of the one before, so a batch lost, doubled, changed or of another log
 * is found. Only the end of the last file may be torn: what a crash or a full disk
 * left of the batch being written.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SegmentHeader } from '../../schema/wire.capnp.ts';
import { CorruptLogError } from '../base/corrupt-log.ts';
import { type BatchHeader, LOG_VERSION, vmIdText } from './batch.ts';
import { draftControl, FRAME, frameBytes, openControl, PREFIX_BYTES, reading } from './frame.ts';

export const SEGMENT_SUFFIX = '.udl';
export const SEGMENT_BYTES_MAX = 64 * 1024 * 1024;

/** A segment's first frame. */
export interface SegmentInfo {
  readonly vmId: Uint8Array;
  readonly logVersion: number;
  readonly term: number;
  /** The number in the file's name, from 1. */
  readonly index: number;
  readonly firstSequence: bigint;
  readonly createdAtNs: bigint;
  readonly qemuBuildId: string;
  readonly agentVersion: string;
}

export function segmentName(index: number): string {
  return `${String(index).padStart(6, '0')}${SEGMENT_SUFFIX}`;
}

export function isSegmentName(name: string): boolean {
  return /^\d{6,}\.udl$/.test(name);
}

/** The frame that begins a segment. */
export function writeSegmentHeader(info: SegmentInfo): Buffer {
  const draft = draftControl(FRAME.SEGMENT_HEADER, SegmentHeader);
  const { root } = draft;
  const vmId = Buffer.from(info.vmId);
  root.setVmIdLo(vmId.readBigUInt64LE(0));
  root.setVmIdHi(vmId.readBigUInt64LE(8));
  root.setLogVersion(info.logVersion);
  root.setTerm(info.term);
  root.setIndex(info.index);
  root.setFirstSequence(info.firstSequence);
  root.setCreatedAtNs(info.createdAtNs);
  root.setQemuBuildId(info.qemuBuildId);
  root.setAgentVersion(info.agentVersion);
  return draft.frame();
}

/** @throws CorruptLogError; code `log-version` for a log that this build cannot read */
export function readSegmentHeader(buf: Buffer): SegmentInfo {
  const root = openControl(buf, 0, buf.length, FRAME.SEGMENT_HEADER, SegmentHeader);
  return reading(() => {
    const vmId = Buffer.alloc(16);
    vmId.writeBigUInt64LE(root.getVmIdLo(), 0);
    vmId.writeBigUInt64LE(root.getVmIdHi(), 8);
    const logVersion = root.getLogVersion();
    if (logVersion !== LOG_VERSION) {
      throw new CorruptLogError(
        `log version: this build reads ${LOG_VERSION}, found ${logVersion}`,
        'log-version',
      );
    }
    return {
      vmId,
      logVersion,
      term: root.getTerm(),
      index: root.getIndex(),
      firstSequence: root.getFirstSequence(),
      createdAtNs: root.getCreatedAtNs(),
      qemuBuildId: root.getQemuBuildId(),
      agentVersion: root.getAgentVersion(),
    };
  });
}

/** The segments of a log in order, by full path. Other files are left alone. */
export async function listSegments(dir: string): Promise<{ file: string; index: number }[]> {
  const names = await readdir(dir);
  return names
    .filter(isSegmentName)
    .map((name) => ({ file: join(dir, name), index: Number.parseInt(name, 10) }))
    .sort((a, b) => a.index - b.index);
}

/** What is left of a batch at the end of the last segment. */
export interface TornTail {
  readonly file: string;
  /** Where whole frames end. */
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
}

/** Why no whole frame is at `offset`, or null. Throws if what is there is no frame. */
export function tornReason(buf: Buffer, offset: number): string | null {
  const available = buf.length - offset;
  if (available === 0) return 'the segment is empty: not even its header is there';
  // A crash of the host may leave a file longer than what was written to it.
  if (buf.subarray(offset).every((byte) => byte === 0)) {
    return `${available} zero bytes where a frame should begin`;
  }
  const bytes = frameBytes(buf, offset, available);
  if (bytes !== null && bytes <= available) return null;
  return `frame is cut short: expected ${bytes ?? PREFIX_BYTES} bytes, found ${available}`;
}

/** @throws CorruptLogError, code `log-foreign` */
export function expectVm(expected: Uint8Array, found: string): void {
  if (vmIdText(expected) === found) return;
  throw new CorruptLogError(
    `this is the log of another VM: expected ${vmIdText(expected)}, found ${found}`,
    'log-foreign',
  );
}

export function expectSequence(expected: bigint, found: bigint): void {
  if (expected === found) return;
  throw new CorruptLogError(`batch sequence: expected ${expected}, found ${found}`);
}

/** That `next` was sealed right after `last` (null: that it is the first). */
export function expectChain(last: BatchHeader | null, next: BatchHeader): void {
  const checksum = last?.checksum ?? 0n;
  if (next.prevChecksum !== checksum) {
    throw new CorruptLogError(
      `batch ${next.sequence} follows another batch: expected the checksum ` +
        `0x${checksum.toString(16)} of the one before, found 0x${next.prevChecksum.toString(16)}`,
    );
  }
  const recordEnd = last?.recordEnd ?? 0n;
  if (next.recordBase !== recordEnd) {
    throw new CorruptLogError(
      `batch ${next.sequence}: expected record ${recordEnd} first, found ${next.recordBase}`,
    );
  }
  if (last !== null && next.term < last.term) {
    throw new CorruptLogError(
      `batch ${next.sequence}: expected term ${last.term} or later, found ${next.term}`,
    );
  }
}
