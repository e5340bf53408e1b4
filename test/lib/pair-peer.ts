// SPDX-License-Identifier: Apache-2.0
/** A peer by hand: says hello as a real one does, then whatever a test wants. */

import { connect, createServer, type Server, type Socket } from 'node:net';
import { ackOf } from '../../bench/stand-ins/courier.ts';
import { readBatchHeader } from '../../src/log/batch.ts';
import { FRAME } from '../../src/log/frame.ts';
import * as messages from '../../src/wire/messages.ts';
import { type Frame, FrameParser } from '../../src/wire/parser.ts';
import { writeBatch } from './batch-writer.ts';

/** Plays a backup against a real primary. */
export class HandBackup {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  readonly closed: Promise<void>;
  /** By sequence. */
  readonly #checksums = new Map<bigint, bigint>();
  #wake: () => void = () => {};

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('error', () => {});
    const parser = new FrameParser((frame) => {
      const buffer = Buffer.from(frame.buffer.subarray(frame.offset, frame.offset + frame.length));
      this.frames.push({ ...frame, buffer, offset: 0 });
      if (frame.type === FRAME.BATCH) {
        const { sequence, checksum } = readBatchHeader(buffer, 0);
        this.#checksums.set(sequence, checksum);
      }
      this.#wake();
    });
    this.socket.on('data', (chunk: Buffer) => parser.push(chunk));
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => resolve());
    });
  }

  /** The first frame of a type, waiting for it. */
  async expect(type: number): Promise<Frame> {
    const deadline = Date.now() + 5000;
    for (;;) {
      const found = this.frames.findIndex((frame) => frame.type === type);
      const frame = this.frames[found];
      if (frame !== undefined) {
        this.frames.splice(found, 1);
        return frame;
      }
      if (Date.now() > deadline) throw new Error(`no frame of type ${type} came`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 20);
      });
    }
  }

  /** Takes the hello that a real backup would send, changed. */
  hello(hello: messages.Hello): void {
    this.socket.write(messages.encodeHello(hello));
  }

  /** Up to the point where batches come. @returns the first batch's header */
  async stand(hello: messages.Hello) {
    this.hello(hello);
    const welcome = messages.decodeWelcome(await this.expect(FRAME.WELCOME));
    this.ack({ ready: true });
    const batch = await this.expect(FRAME.BATCH);
    return { welcome, header: readBatchHeader(batch.buffer, 0) };
  }

  ack(change: Partial<messages.Ack>): void {
    const batchChecksum = this.#checksums.get(change.sequence ?? 0n) ?? 0n;
    this.socket.write(ackOf({ batchChecksum, ...change }));
  }
}

/** Plays a primary against a real backup. */
export class HandPrimary {
  readonly server: Server;
  /** The backup's hello and its socket, per connection; and the types of what it sent since. */
  readonly met: {
    hello: messages.Hello;
    socket: Socket;
    acks: messages.Ack[];
    types: number[];
  }[] = [];
  readonly vmId = Buffer.alloc(16, 5);
  #sequence = 0n;
  #recordBase = 0n;
  #prevChecksum = 0n;

  constructor(port: number, onHello: (primary: HandPrimary, index: number) => void) {
    this.server = createServer((socket) => {
      const acks: messages.Ack[] = [];
      const types: number[] = [];
      socket.on('error', () => {});
      const parser = new FrameParser((frame) => {
        if (frame.type === FRAME.HELLO) {
          this.met.push({ hello: messages.decodeHello(frame), socket, acks, types });
          onHello(this, this.met.length - 1);
        } else if (frame.type === FRAME.ACK) acks.push(messages.decodeAck(frame));
        types.push(frame.type);
      });
      socket.on('data', (chunk: Buffer) => parser.push(chunk));
    });
    this.server.listen(port, '127.0.0.1');
  }

  welcome(index: number, settings: messages.Settings = {}): void {
    const peer = this.met[index];
    if (peer === undefined) throw new Error('no such peer');
    const { hello } = peer;
    peer.socket.write(
      messages.encodeWelcome({
        vmId: this.vmId,
        term: 1,
        wireVersion: 1,
        logVersion: 1,
        rtcBase: '2026-11-21T07:00:00',
        protocolName: 'lockstep',
        batchUsMax: 1000,
        heartbeatMs: 10_000,
        heartbeatMissed: 3,
        lagMsMax: 500,
        durability: 'memory',
        vmConfig: '{}',
        configHash: hello.configHash,
        qemuBuildId: hello.qemuBuildId,
        qemuArgs: [],
        disks: hello.disks,
        host: 'by-hand',
        agentVersion: '0',
        settings,
      }),
    );
  }

  /** The next valid batch (a horizon only), or one with changes. */
  batch(change: Partial<Parameters<typeof writeBatch>[0]> = {}): Buffer {
    const { frame, checksum } = writeBatch({
      vmId: this.vmId,
      term: 1,
      sequence: this.#sequence,
      recordBase: this.#recordBase,
      horizon: (this.#sequence + 1n) * 1000n,
      outputsReleased: 0n,
      prevChecksum: this.#prevChecksum,
      records: [],
      ...change,
    });
    this.#sequence += 1n;
    this.#prevChecksum = checksum;
    return frame;
  }

  close(): void {
    this.server.close();
    for (const { socket } of this.met) socket.destroy();
  }
}
