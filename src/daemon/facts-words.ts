// SPDX-License-Identifier: Apache-2.0
/** What `status` says of a daemon to people: a line for each fact, or few, that is worth one. */
import { colour } from '../base/colour.ts';
import { formatBitRate, formatBytes, formatCount, formatDuration } from '../base/format.ts';
import { countIn } from '../base/position-json.ts';
import { guestClockWords, skewWords } from './clock-watch.ts';
import type { DaemonStatus } from './facts.ts';

/** A label and its words; null: nothing to say. */
const LINES: ReadonlyArray<readonly [string, (d: DaemonStatus) => string | null]> = [
  ['process', (d) => `${d.pid}${d.qemu_pid === null ? '' : `, QEMU ${d.qemu_pid}`}`],
  ['term', (d) => String(d.term)],
  [
    'peer',
    ({ peer, heartbeat_age_ms: age }) =>
      peer === null ? null : `${peer}${age === null ? '' : `, heard ${formatDuration(age)} ago`}`,
  ],
  [
    'position',
    ({ position, accel_lacks: lacks }) => {
      if (position === null) return null;
      const count = Number(countIn(position));
      return lacks === null
        ? `${formatCount(count)} instructions`
        : `${formatDuration(count / 1e6)} of guest time`;
    },
  ],
  ['backup behind', lagWords],
  ['image', ({ image_epoch: epoch }) => (epoch === null ? null : `of epoch ${formatCount(epoch)}`)],
  ['epochs', cutWords],
  ['state', stateWords],
  [
    'accelerator',
    ({ accel, accel_lacks: lacks }) => (lacks === null ? null : `${accel}: no ${lacks}`),
  ],
  [
    'log',
    (d) =>
      `${formatBytes(d.log_bytes_total)}, ${formatBitRate(d.log_bytes_per_s, 1)}, ` +
      `durability ${d.durability}`,
  ],
  ['link', linkWords],
  ['outputs', outputsWords],
  ['failover', failoverWords],
  ['arbiter', ({ arbiter_problem: problem }) => warning(problem)],
  ["hosts' clocks", (d) => warning(skewWords(d.clock_skew_ms))],
  ['guest clock', (d) => warning(guestClockWords(d.guest_clock_behind_ms))],
  ['history', ({ history_error: error }) => (error === null ? null : `given up: ${error}`)],
  ['services', servicesWords],
  ['probes', probesWords],
  ['guard', guardWords],
  [
    'disk error',
    ({ disk_error: error, disk_waits: waits }) =>
      error !== null && waits ? `${error} (the guest waits)` : error,
  ],
  ['sick', (d) => d.sick],
  ['log error', (d) => d.segment_error],
  ['last refused', (d) => d.last_refused],
];

const DAY_MS = 86_400_000;
const ENDS_SOON_DAYS = 30;

function linkWords({ certificate_ends_at: endsAt }: DaemonStatus): string | null {
  if (endsAt === null) return null;
  const words = `TLS, our certificate until ${endsAt.slice(0, 10)}`;
  const days = (Date.parse(endsAt) - Date.now()) / DAY_MS;
  if (days > ENDS_SOON_DAYS) return words;
  return warning(`${words}: \`understudy keys issue\` makes the next one`);
}

export function linesOf(status: DaemonStatus): [string, string][] {
  return LINES.flatMap(([label, words]) => {
    const text = words(status);
    return text === null ? [] : [[label, text] satisfies [string, string]];
  });
}

function lagWords(d: DaemonStatus): string | null {
  if (d.lag_instructions === null) return null;
  const ms = d.lag_ms === null ? [] : [formatDuration(d.lag_ms)];
  const counted = d.accel_lacks === null ? [`${formatCount(d.lag_instructions)} instructions`] : [];
  const slowed = d.throttled ? ` ${colour.yellow('(the primary is slowed)')}` : '';
  return `${[...counted, ...ms].join(', ')}${slowed}`;
}

function cutWords(d: DaemonStatus): string | null {
  if (d.cuts === null || d.cut_pages === null || d.cut_pause_ms === null) return null;
  const max = d.cut_pause_max_ms === null ? '' : ` (at most ${formatDuration(d.cut_pause_max_ms)})`;
  return (
    `${formatCount(d.cuts)} of ${formatCount(Math.round(d.cut_pages))} pages${intervalWords(d)}, ` +
    `paused for ${formatDuration(d.cut_pause_ms)}${max}`
  );
}

/** What an epoch is made longer for. */
const LONGER_FOR = {
  asked: '',
  pause: ' (longer: the guest stood still too much)',
  transfer: ' (longer: they take time to come to the backup)',
} as const;

function intervalWords({ epoch_interval_ms: ms, epoch_interval_why: why }: DaemonStatus): string {
  return ms === null || why === null ? '' : `, every ${formatDuration(ms)}${LONGER_FOR[why]}`;
}

function stateWords(d: DaemonStatus): string | null {
  const { state_bytes_total: all, memory_bytes_total: bytes, memory_pages_total: pages } = d;
  if (all === null || bytes === null || !pages) return null;
  return `${formatBytes(all)}, ${formatCount(Math.round(bytes / pages))} bytes a page of memory`;
}

function outputsWords(d: DaemonStatus): string | null {
  if (d.outputs === null || d.outputs_released === null) return null;
  const left = `${formatCount(d.outputs_released)} of ${formatCount(d.outputs)} packets left`;
  return d.outputs_stopped === null ? left : `${left}; ${d.outputs_stopped}`;
}

function failoverWords({ failover }: DaemonStatus): string | null {
  if (failover === null) return null;
  const step = (ms: number | null): string => (ms === null ? 'not yet' : formatDuration(ms));
  return (
    `detect ${step(failover.detect_ms)}, fence ${step(failover.fence_ms)}, ` +
    `drain ${step(failover.drain_ms)}, go live ${step(failover.golive_ms)}`
  );
}

function servicesWords({ guard }: DaemonStatus): string | null {
  if (guard === null || guard.services.length === 0) return null;
  const words = guard.services.map(({ name, state, why, restarts, restarts_max: max }) => {
    const tried = restarts === 0 ? '' : `, restarted ${restarts} of ${max}`;
    const text = `${name} ${state}${why === '' ? '' : ` (${why})`}${tried}`;
    return state === 'up' ? text : colour.yellow(text);
  });
  return words.join('; ');
}

function probesWords({ guard }: DaemonStatus): string | null {
  if (guard === null || guard.probes.length === 0) return null;
  const words = guard.probes.map(({ address, state, why }) => {
    const text = `${address} ${state}${why === null ? '' : ` (${why})`}`;
    return state === 'up' ? text : colour.yellow(text);
  });
  return words.join('; ');
}

/** What is wrong with the guard itself. */
const AGENT_WORDS = {
  off: null,
  speaks: null,
  waiting: 'nothing has come from the one in the guest yet',
  silent: 'the one in the guest is silent',
  floods: 'the one in the guest says more than is looked at',
} as const;

function guardWords({ guard }: DaemonStatus): string | null {
  if (guard === null) return null;
  const { gave_up: gaveUp, restarts, resets, malformed } = guard;
  const wrong = [AGENT_WORDS[guard.agent], gaveUp === null ? null : `gave up: ${gaveUp}`];
  const words = wrong.flatMap((text) => (text === null ? [] : [colour.yellow(text)]));
  if (malformed > 0) words.push(`lines that are none: ${formatCount(malformed)}`);
  if (restarts > 0) words.push(`restarts of services: ${formatCount(restarts)}`);
  if (resets > 0) words.push(`resets of the guest: ${formatCount(resets)}`);
  return words.length === 0 ? null : words.join('; ');
}

function warning(words: string | null): string | null {
  return words === null ? null : colour.yellow(words);
}
