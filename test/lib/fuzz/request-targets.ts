// SPDX-License-Identifier: Apache-2.0
/** What comes over other sockets: requests to a daemon, gdb's packets, answers of etcd. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NO_ACCESS } from '../../../src/arbiter/arbiter.ts';
import { etcdArbiter } from '../../../src/arbiter/etcd.ts';
import { StatusSocket } from '../../../src/daemon/status-socket.ts';
import { encodePacket, RspParser } from '../../../src/debug/rsp.ts';
import { claimant, VM } from '../arbiter-contract.ts';
import { mutateBytes, mutateJson, mutateLines } from './mutate.ts';
import { must, type Target } from './target.ts';

const dir = mkdtempSync(join(tmpdir(), 'understudy-fuzz-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

let statusPath: Promise<string> | null = null;

async function serveStatus(): Promise<string> {
  const path = join(dir, 's');
  await StatusSocket.listen(path, {
    status: () => ({ state: 'protected', lag: 1n }),
    stop: () => {},
    promote: () => {},
    consoleInput: (bytes) => bytes.length < 64,
    consoleAttach: (listener) => {
      listener(Buffer.from('login: '));
      return () => {};
    },
  });
  return path;
}

/** Lines of requests; each has one answer, in JSON, and the daemon goes on. */
const status: Target = {
  name: 'status-request',
  seeds: () =>
    [
      '{"cmd":"status"}\n{"cmd":"stop","powerdown":false}\n',
      '{"cmd":"console-input","text":"ls"}\n{"cmd":"console-attach"}\n{"cmd":"promote"}\n',
    ].map((text) => Buffer.from(text)),
  mutate: mutateLines([
    '{',
    '}',
    '"cmd"',
    ':',
    '"status"',
    'null',
    '[]',
    '{"cmd":1}',
    '"\\ud800"',
    '',
  ]),
  run: async (input) => {
    statusPath ??= serveStatus();
    const socket = connect(await statusPath);
    let answers = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      answers += text;
    });
    socket.on('error', () => {});
    socket.end(input);
    await once(socket, 'close');
    const lines = answers.split('\n').slice(0, -1);
    for (const line of lines) must(typeof JSON.parse(line) === 'object', 'an answer is JSON');
    return lines.length;
  },
};

const rsp: Target = {
  name: 'gdb-packets',
  seeds: () =>
    ['qSupported:multiprocess+', '0* ', 'vCont;c', 'm1000,40', 'a}\u0003#'].map((text) =>
      Buffer.concat([Buffer.from('+'), encodePacket(text)]),
    ),
  mutate: (seed, other, random) => {
    const bytes = mutateBytes(seed, other, random);
    if (random.chance(0.4)) return bytes;
    // With the checksum of its body.
    const body = bytes.subarray(bytes.indexOf('$') + 1).filter((byte) => byte !== 0x23);
    const sum = body.reduce((total, byte) => (total + byte) & 255, 0);
    return Buffer.concat([
      Buffer.from('$'),
      body,
      Buffer.from(`#${sum.toString(16).padStart(2, '0')}`),
    ]);
  },
  run: (input) => {
    const whole = new RspParser().feed(input);
    const cut = new RspParser();
    const parts = [input.subarray(0, input.length >> 1), input.subarray(input.length >> 1)];
    const events = parts.flatMap((part) => cut.feed(part));
    must(JSON.stringify(events) === JSON.stringify(whole), 'however it is cut');
    const texts = events.reduce((sum, it) => sum + (it.kind === 'packet' ? it.text.length : 0), 0);
    must(texts <= 2 ** 21, 'a packet has a length that gdb was told');
    return events
      .map(({ kind }) => kind)
      .join(' ')
      .slice(0, 60);
  },
};

let answer = '';
let arbiter: Promise<ReturnType<typeof etcdArbiter>> | null = null;

async function serveEtcd(): Promise<ReturnType<typeof etcdArbiter>> {
  const server = createServer((_, response) => {
    const code = answer.charCodeAt(0) % 3 === 0 ? 503 : 200;
    response.writeHead(code, { connection: 'close' }).end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return etcdArbiter(`http://127.0.0.1:${port}`, NO_ACCESS, { timeoutMs: 20 });
}

const found = {
  role: 'backup',
  name: 'a',
  host: 'b',
  pid: 1,
  instance: 'i',
  term: 2,
  claimedAt: 'c',
};
const kvs = [{ value: Buffer.from(JSON.stringify(found)).toString('base64'), version: '2' }];

/** Whatever it is: a claim is won, lost, or was not decided. */
const etcd: Target = {
  name: 'etcd-answer',
  seeds: () =>
    [
      { succeeded: true, responses: [{ response_put: {} }] },
      { responses: [{ response_range: { kvs } }] },
      { kvs },
      { error: 'etcdserver: leader changed', code: 14 },
    ].map((value) => Buffer.from(JSON.stringify(value))),
  mutate: mutateJson,
  run: async (input) => {
    answer = input.toString('utf8');
    arbiter ??= serveEtcd();
    const asked = await arbiter;
    const claim = await asked.claim(VM, 2, claimant('primary'));
    must(['won', 'lost', 'unreachable'].includes(claim.result), 'a claim has a result');
    if (claim.result === 'lost') must(claim.term >= 2, 'a term that is lost was claimed');
    const held = await asked.holder(VM);
    must(held === null || 'unreachable' in held || held.term > 0, 'a holder has a term');
    return claim.result;
  },
};

export const REQUEST_TARGETS: readonly Target[] = [status, rsp, etcd];
