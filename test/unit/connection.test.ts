// SPDX-License-Identifier: Apache-2.0
/** A connection over a real socket: what it carries, and what it is closed for. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Listener } from '../../native/kvm-exit-log/index.ts';
import type { UnderstudyError } from '../../src/base/errors.ts';
import { FRAME } from '../../src/log/frame.ts';
import { Connection } from '../../src/wire/connection.ts';
import * as messages from '../../src/wire/messages.ts';
import type { Frame } from '../../src/wire/parser.ts';
import { ack } from '../lib/an-ack.ts';

interface Pair {
  client: Socket;
  frames: number[];
  closed: Promise<UnderstudyError>;
  close(): void;
}

/** A raw client on one side of a real socket, a Connection on the other. */
async function pair(onFrame: (frame: Frame) => void = () => {}): Promise<Pair> {
  const frames: number[] = [];
  let closed: (error: UnderstudyError) => void = () => {};
  const promise = new Promise<UnderstudyError>((resolve) => {
    closed = resolve;
  });
  const listener = await Listener.on('127.0.0.1', 0, (link) => {
    new Connection(link, {
      frame: (frame) => {
        frames.push(frame.type);
        onFrame(frame);
      },
      closed,
      drained: () => {},
    });
  });
  const client = createConnection(listener.port, '127.0.0.1');
  client.on('error', () => {});
  await once(client, 'connect');
  return {
    client,
    frames,
    closed: promise,
    close() {
      client.destroy();
      listener.close();
    },
  };
}

const socket = suite('connection');

async function refused(bytes: Buffer, pattern: RegExp): Promise<void> {
  const it = await pair((frame) => {
    if (frame.type === FRAME.ACK) messages.decodeAck(frame);
  });
  it.client.write(bytes);
  const error = await it.closed;
  assert.is(error.code, 'peer-protocol');
  assert.match(error.message, pattern);
  it.close();
}

function prefix(type: number, length: number): Buffer {
  const bytes = messages.encodeAck(ack).subarray(0, 16);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt32LE(length, 8);
  return bytes;
}

socket('garbage is named', () =>
  refused(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), /no frame of ours.*GET \/ HTTP/),
);

socket('a length is not believed without its checksum', () =>
  refused(prefix(FRAME.ACK, 100), /crc32/),
);

socket('an oversized length is refused before its body comes', async () => {
  const { crc32 } = await import('node:zlib');
  for (const [type, length] of [
    [FRAME.BATCH, 8 * 1024 * 1024 + 1],
    [FRAME.ACK, 64 * 1024 + 1],
    [FRAME.BATCH, 0xffff_ffff],
  ] as const) {
    const bytes = prefix(type, length);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 12)), 12);
    await refused(bytes, /oversized: at most \d+ bytes, found/);
  }
});

socket('a damaged message is refused', () => {
  const bytes = messages.encodeAck(ack);
  bytes[50] = (bytes[50] ?? 0) ^ 4;
  return refused(bytes, /damaged ack/);
});

socket('half a frame at the end is named', async () => {
  const it = await pair();
  const bytes = messages.encodeAck(ack);
  it.client.end(Buffer.concat([bytes, bytes.subarray(0, 60)]));
  const error = await it.closed;
  assert.is(error.code, 'peer-lost');
  assert.match(error.message, /in the middle of a frame \(60 of 104 bytes\)/);
  assert.equal(it.frames, [FRAME.ACK]);
  it.close();
});

socket('half a prefix at the end is named', async () => {
  const it = await pair();
  it.client.end(messages.encodeAck(ack).subarray(0, 5));
  assert.match((await it.closed).message, /in the middle of a frame prefix \(5 of 16 bytes\)/);
  it.close();
});

socket('a handler that throws loses the peer, and sees no further frame', async () => {
  let seen = 0;
  const it = await pair(() => {
    seen += 1;
    throw new Error('an ack from the future');
  });
  it.client.write(Buffer.concat([messages.encodeAck(ack), messages.encodeAck(ack)]));
  const error = await it.closed;
  assert.is(error.code, 'peer-protocol');
  assert.match(error.message, 'an ack from the future');
  assert.is(seen, 1);
  it.close();
});

socket('a peer that does not read is pushed back on, and drains later', async () => {
  let drained = false;
  let connection: Connection | null = null;
  const listener = await Listener.on('127.0.0.1', 0, (link) => {
    connection = new Connection(link, {
      frame: () => {},
      closed: () => {},
      drained: () => {
        drained = true;
      },
    });
  });
  const client = createConnection(listener.port, '127.0.0.1');
  await once(client, 'connect');
  client.pause();
  while (connection === null) await new Promise((resolve) => setTimeout(resolve, 5));
  const big = Buffer.alloc(1024 * 1024);
  let room = true;
  let sent = 0;
  while (room && sent < 64) {
    room = (connection as Connection).send(big);
    sent += 1;
  }
  assert.is(room, false);
  client.resume();
  while (!drained) await new Promise((resolve) => setTimeout(resolve, 5));
  client.destroy();
  listener.close();
});

socket.run();
