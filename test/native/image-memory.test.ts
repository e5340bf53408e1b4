// SPDX-License-Identifier: Apache-2.0
/** An epoch that a backup has no room for: told by name, and what it has is still good. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isSanitized, pause, until } from '../../bench/stand-ins/courier.ts';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { blocks, EpochSender, PAGE, PART, page } from '../lib/image-epochs.ts';
import { imageReceiver } from '../lib/image-receiver.ts';

const MIB = 1 << 20;
const room = suite("room for an epoch's state");

room('an epoch of more than is kept is told by name, and nothing of it is kept', async () => {
  const { image, t, peer, end } = await imageReceiver('image-bound', 4 * PAGE);
  const sender = new EpochSender();
  const three = Buffer.concat([page('1'), page('2'), page('3')]);
  peer.socket.write(sender.whole([{ part: PART.RAM, data: three }], 'one'));
  await until('the first is acknowledged', () => peer.acks.length === 1);
  peer.socket.write(sender.state({ part: PART.RAM, data: three }));
  await pause(30);
  assert.equal(t.failed, []);
  peer.socket.write(sender.whole([{ part: PART.RAM, data: page('4') }], 'two'));
  await until('it is told', () => t.failed.length > 0);
  assert.equal(t.failed, [
    `ENOMEM the state of an epoch: more than ${4 * PAGE} bytes: Cannot allocate memory`,
  ]);
  await pause(30);
  assert.equal([t.broken, t.closed, t.console], [[], [], 'one']);
  assert.is(peer.acks.length, 1);
  // What was acknowledged can be taken over.
  t.courier.closeReceive();
  t.courier.handOver(image.restFd);
  assert.is(t.courier.receiveFacts().imageEpoch, 1n);
  end();
});

room('memory that no VM has beside its main memory is refused by name', async () => {
  const { t, peer, end } = await imageReceiver('image-blocks');
  const sender = new EpochSender();
  const text = Buffer.concat([blocks(), blocks(2 ** 18, 'vga'), blocks(1, 'rom')]);
  peer.socket.write(sender.state({ part: PART.BLOCKS, data: text }));
  await until('it is refused', () => t.closed.length > 0);
  assert.equal(t.closed, [
    `peer-protocol: the primary sent ${2 ** 30 + PAGE} bytes of memory beside main memory`,
  ]);
  end();
});

/** A sanitizer needs memory of its own, and V8 ends a process in which it gets none. */
const unwatched = isSanitized ? room.skip : room;

unwatched('a process that gets no more memory tells so, and does not end of it', async () => {
  const dir = tempDir('image-memory');
  const script = fileURLToPath(new URL('../lib/short-of-memory.ts', import.meta.url));
  const words = ['--import', 'tsx', script, dir, String(256 * MIB)];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const lines: string[] = [];
  createInterface(child.stdout).on('line', (line) => lines.push(line));
  try {
    await until('it listens', () => lines.length === 1, 60_000);
    const socket = connect({ port: Number(lines[0]?.split(' ')[1]), host: '127.0.0.1' });
    let acks = 0;
    socket
      .on('error', () => {})
      .on('data', () => {
        acks += 1;
      });
    const sender = new EpochSender();
    socket.write(sender.whole([], 'one', (256 * MIB) / PAGE));
    await until('the first is acknowledged', () => acks > 0 || lines.length > 1);
    assert.equal(lines.slice(1), []);
    const taken = /VmSize:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'));
    const limit = Number(taken?.[1]) * 1024 + 64 * MIB;
    execFileSync('prlimit', ['--pid', String(child.pid), `--as=${limit}`]);
    for (let at = 0; at < 200 && lines.length === 1; at += 1) {
      const data = Buffer.alloc(MIB, at + 1);
      const frame = sender.state({ part: PART.RAM, offset: at * MIB, data });
      // Not `once`, which fails with the connection: that ends as the process does.
      const drained = (): Promise<unknown> => new Promise((go) => socket.once('drain', go));
      if (!socket.write(frame)) await Promise.race([drained(), exited]);
    }
    const [code] = await exited;
    assert.equal(lines.slice(1), [
      JSON.stringify({
        failed: ['ENOMEM the state of an epoch: none is left'],
        broken: [],
        closed: [],
      }),
      'epoch 1',
    ]);
    assert.is(code, 0);
    socket.destroy();
  } finally {
    child.kill('SIGKILL');
  }
});

room.run();
