// SPDX-License-Identifier: Apache-2.0
/**
 * GDB's remote serial protocol: packets as bytes and back ("Debugging with GDB",
 * appendix E). Text is latin1: binary data in it stays as it is.
 */

/** What a peer sends. A packet whose checksum is wrong is `bad`, to be asked for again. */
export type RspEvent =
  | { readonly kind: 'packet'; readonly text: string }
  | { readonly kind: 'ack' | 'nack' | 'break' | 'bad' };

const DOLLAR = 0x24;
const HASH = 0x23;
const ESCAPE = 0x7d;
const REPEAT = 0x2a;
const ETX = 3;
/** Longer is no packet of gdb's: it is told 128 KiB at most. */
const PACKET_BYTES_MAX = 1 << 20;

/** Frames a packet: `$text#checksum`, with what must not be in it escaped. */
export function encodePacket(text: string): Buffer {
  const escaped = text.replace(/[#$}*]/g, (c) => `}${String.fromCharCode(c.charCodeAt(0) ^ 0x20)}`);
  const body = Buffer.from(escaped, 'latin1');
  return Buffer.concat([Buffer.from('$'), body, Buffer.from(`#${hexByte(sum(body))}`)]);
}

/** Cuts a stream into what it has; remembers a part of a packet. */
export class RspParser {
  #rest: Buffer = Buffer.alloc(0);

  feed(bytes: Buffer): RspEvent[] {
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const events: RspEvent[] = [];
    while (data.length > 0) {
      const first = data[0];
      if (first !== DOLLAR) {
        if (first === 0x2b) events.push({ kind: 'ack' });
        else if (first === 0x2d) events.push({ kind: 'nack' });
        else if (first === ETX) events.push({ kind: 'break' });
        data = data.subarray(1); // anything else is noise between packets
        continue;
      }
      const end = data.indexOf(HASH);
      if (end < 0 || data.length < end + 3) {
        if (data.length > PACKET_BYTES_MAX) data = Buffer.alloc(0);
        break;
      }
      const body = data.subarray(1, end);
      const wanted = Number.parseInt(data.toString('latin1', end + 1, end + 3), 16);
      const text = wanted === sum(body) ? decodeBody(body) : null;
      events.push(text === null ? { kind: 'bad' } : { kind: 'packet', text });
      data = data.subarray(end + 3);
    }
    this.#rest = Buffer.from(data);
    return events;
  }
}

/** Undoes escapes and runs. @returns null where runs make it longer than a packet may be */
function decodeBody(body: Buffer): string | null {
  if (!body.includes(ESCAPE) && !body.includes(REPEAT)) return body.toString('latin1');
  const out: number[] = [];
  for (let at = 0; at < body.length; at += 1) {
    if (out.length > PACKET_BYTES_MAX) return null;
    const byte = body[at] ?? 0;
    if (byte === ESCAPE) {
      at += 1;
      out.push((body[at] ?? 0) ^ 0x20);
    } else if (byte === REPEAT && out.length > 0) {
      at += 1;
      const times = (body[at] ?? 29) - 29;
      for (let n = 0; n < times; n += 1) out.push(out.at(-1) ?? 0);
    } else {
      out.push(byte);
    }
  }
  return Buffer.from(out).toString('latin1');
}

/** Text as hexadecimal digits, as `qRcmd` and `O` carry it. */
export function toHex(text: string): string {
  return Buffer.from(text, 'utf8').toString('hex');
}

export function fromHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('utf8');
}

function sum(body: Buffer): number {
  let total = 0;
  for (const byte of body) total = (total + byte) & 0xff;
  return total;
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
