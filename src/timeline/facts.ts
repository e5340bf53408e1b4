// SPDX-License-Identifier: Apache-2.0
/** The headline of a timeline, and what its reader has to know. */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { formatBitRate, formatBytes, formatCount, formatDuration } from '../base/format.ts';
import { openRecording, type Recording } from '../recording/folder.ts';
import type { Timeline } from './collect.ts';

type Fact = readonly [string, string];

const DAMAGE_SHOWN = 10;

export interface Headline {
  readonly title: string;
  readonly facts: readonly Fact[];
  readonly notes: readonly string[];
}

/** @param dir as the user gave it: a recording, or any folder with a log */
export function headlineOf(dir: string, timeline: Timeline, more: readonly string[]): Headline {
  const { recording, problem } = manifestOf(dir);
  const notes = [...problem, ...damageNotes(timeline), ...more, ...lagNotes(timeline)];
  return {
    title: recording?.manifest.name ?? basename(dir),
    facts: [...originFacts(recording, timeline), ...sizeFacts(timeline), ...endFacts(timeline)],
    notes,
  };
}

/** Damage elsewhere is no obstacle, but it is said. */
function manifestOf(dir: string): { recording: Recording | null; problem: string[] } {
  try {
    return { recording: openRecording(dir), problem: [] };
  } catch (error) {
    const isRecording = existsSync(`${dir}/vm.json`);
    return { recording: null, problem: isRecording ? [messageOf(error)] : [] };
  }
}

function originFacts(recording: Recording | null, { vmId, qemuBuildId }: Timeline): Fact[] {
  if (recording === null) {
    return [
      ['VM', vmId ?? 'unknown'],
      ['QEMU build', qemuBuildId ?? 'unknown'],
    ];
  }
  const { manifest, config } = recording;
  const { host, qemu } = manifest;
  const vcpus = `${config.vcpus} vCPU${config.vcpus === 1 ? '' : 's'}`;
  return [
    ['VM', `${manifest.name}: ${config.machine}, ${vcpus}, ${config.memoryBytes / 2 ** 20} MiB`],
    ['recorded', `${manifest.created.slice(0, 19).replace('T', ' ')} UTC`],
    ['host', `${host.cpu}, ${host.arch}, Linux ${host.kernel}, Node ${host.node}`],
    ['QEMU', `${qemu.version}, build ${qemu.build_id}`],
    ['VM id', manifest.vm_id],
  ];
}

function sizeFacts(timeline: Timeline): Fact[] {
  const { rows, start, end, records, logBytes, batches } = timeline;
  const icount = end.icount - start.icount;
  const guestNs = end.vtimeNs - start.vtimeNs;
  const hostS = (end.hostNs - start.hostNs) / 1e9;
  const idle = guestNs > 0 ? (100 * rows.sumOf('idleNs')) / guestNs : 0;
  const perThousand = icount > 0 ? ((1000 * logBytes) / icount).toPrecision(3) : '–';
  return [
    ['instructions', formatCount(icount)],
    ['guest time', `${formatDuration(guestNs / 1e6)}, ${idle.toFixed(1)} % of it idle`],
    ['host time', `${formatDuration(hostS * 1000)} from power-on to the last seal`],
    ['records', `${formatCount(records)} in ${formatCount(batches)} batches`],
    ['log', `${formatBytes(logBytes)}, ${formatBitRate(logBytes, hostS)}`],
    ['log per 1000 instructions', `${perThousand} B`],
  ];
}

function endFacts({ logEnd, damageCount }: Timeline): Fact[] {
  const ended =
    logEnd === null
      ? 'no: there is no END, it was killed or still runs'
      : logEnd.reason === 'poweroff'
        ? 'yes: the guest powered off'
        : 'yes: stopped by the operator';
  const complete = damageCount > 0 ? `no: damaged (${formatCount(damageCount)})` : ended;
  const facts: Fact[] = [['complete', complete]];
  if (logEnd !== null) facts.push(['final digest', logEnd.digest]);
  return facts;
}

function damageNotes(timeline: Timeline): string[] {
  const { damage, damageCount, partly, batches, end } = timeline;
  const notes = damage.slice(0, DAMAGE_SHOWN).map(({ file, offset, bytes, reason }) => {
    const size = bytes === 0 ? '' : ` (${formatCount(bytes)} bytes not decoded)`;
    return `Damaged: ${basename(file)} at byte ${formatCount(offset)}${size}: ${reason}.`;
  });
  if (damageCount > notes.length) notes.push(`… and ${damageCount - notes.length} more.`);
  if (damageCount > 0) {
    const to = `icount ${formatCount(end.icount)}, guest time ${(end.vtimeNs / 1e9).toFixed(6)} s`;
    notes.push(batches === 0 ? 'No batch can be read.' : `What can be read ends at ${to}.`);
  }
  if (partly) {
    notes.push(
      'Part of the log is missing. After it, idle time is known from the next clock record ' +
        'on, and packets held from the next digest on.',
    );
  }
  return notes;
}

function lagNotes({ hostClockSetBack }: Timeline): string[] {
  const notes = [
    'A log does not hold how far a backup was behind: acks are not stored (`understudy status` ' +
      'says it of a running pair). What it holds of lag is shown: packets that waited for ' +
      'their release, and guest time behind host time, both as of each seal.',
  ];
  if (hostClockSetBack > 0) {
    notes.push(`The host's clock was set back ${formatCount(hostClockSetBack)} time(s) meanwhile.`);
  }
  return notes;
}

/** For machines. */
export function timelineJson(timeline: Timeline) {
  const { rows, records, batches, logBytes, end, logEnd, damage } = timeline;
  return {
    rows: rows.length,
    records_per_row: rows.pointsPerRow,
    records,
    batches,
    log_bytes: logBytes,
    icount: end.icount,
    ended: logEnd?.reason ?? null,
    damage,
  };
}
