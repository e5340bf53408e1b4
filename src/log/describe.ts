// SPDX-License-Identifier: Apache-2.0
/** Records for people: one line each. */
import { formatCount, hex64 } from '../base/format.ts';
import { icountOf } from '../base/position.ts';
import { blkResult, type LogRecord, readDigest } from './batch.ts';
import { CHECKPOINT_OF, CLOCK, DIGEST_KIND, END_REASON, KIND, kindName } from './kinds.ts';
import { digestText } from './log-end.ts';

const TEXT_CHARACTERS_MAX = 60;
/** EXITLOG_BLK_NO_REQUEST */
const NO_REQUEST = 2n ** 64n - 1n;

/** `#12  icount 1,234,567  2.469134 s  NET_IN nic0  60 bytes …`. */
export function describeRecord(record: LogRecord): string {
  const seconds = (Number(record.vtimeNs) / 1e9).toFixed(6);
  return (
    `#${record.ordinal}`.padEnd(8) +
    formatCount(icountOf(record.point)).padStart(16) +
    `${seconds} s`.padStart(16) +
    `  ${kindName(record.kind).padEnd(9)} ${describeContent(record)}`
  );
}

/** What a record says besides its position and kind. */
export function describeContent(record: LogRecord): string {
  const { kind, channel, len, arg, payload, vtimeNs } = record;
  switch (kind) {
    case KIND.NET_IN:
      return `nic${channel}  ${len} bytes`;
    case KIND.NET_OUT:
      return `nic${channel}  ${len} bytes, outputs ${hex64(arg)}`;
    case KIND.CHAR_IN:
    case KIND.CHAR_OUT:
      return `console${channel}  ${len} bytes ${excerpt(payload)}`;
    case KIND.BLK_DONE: {
      const result = blkResult(record);
      return `disk${channel}  request ${arg} ${result === 0 ? 'done' : `failed: errno ${-result}`}`;
    }
    case KIND.BLK_DATA:
      return `disk${channel}  ${payload === null ? `${len} bytes` : describeDiskData(payload)}`;
    case KIND.ENTROPY:
      return `${len} bytes`;
    case KIND.DIGEST:
      return (
        (channel === DIGEST_KIND.FINAL ? 'final  ' : '') +
        (payload === null ? '' : digestText(readDigest(payload)))
      );
    case KIND.END:
      if (channel === END_REASON.POWEROFF) return 'the guest powered off';
      return channel === END_REASON.STOP ? 'stopped by the operator' : `reason ${channel}`;
    case KIND.CLOCK:
      if (channel === CLOCK.RATE) {
        return `${(Number(arg) / 2 ** 32).toFixed(3)} ns per instruction`;
      }
      if (channel === CLOCK.STEP) return `${Number(arg - vtimeNs) / 1e6} ms forward`;
      return (
        (channel === CLOCK.RTC ? 'the RTC is set: ' : '') +
        `guest time 0 was ${new Date(Number(arg / 1_000_000n)).toISOString()}`
      );
    case KIND.CHECKPOINT:
      return channel === CHECKPOINT_OF.EPOCH ? `epoch ${arg} ends` : `state ${hex64(arg)}`;
    case KIND.POWERDOWN:
      return 'power button';
    case KIND.RESET:
      return 'reset button';
    default:
      return `channel ${channel}, len ${len}, arg ${arg}`;
  }
}

/** struct exitlog_blk_data, which names the request; see the C header. */
function describeDiskData(payload: Uint8Array): string {
  const view = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (view.length < 24) return `${view.length} bytes`;
  const [request, offset, bytes] = [0, 8, 16].map((at) => view.readBigUInt64LE(at));
  const whose = request === NO_REQUEST ? '' : `request ${request} left `;
  return `${whose}${bytes} bytes at byte ${offset}`;
}

function excerpt(payload: Uint8Array | null): string {
  if (payload === null) return '';
  const head = payload.subarray(0, TEXT_CHARACTERS_MAX);
  const text = JSON.stringify(Buffer.from(head).toString('latin1'));
  return payload.length > head.length ? `${text.slice(0, -1)}…"` : text;
}
