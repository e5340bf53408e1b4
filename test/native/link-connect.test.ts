// SPDX-License-Identifier: Apache-2.0
/** Links that connect, and listeners: whom they find, and what they say of failures. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pause, until } from '../../bench/stand-ins/courier.ts';
import { Link, Listener } from '../../native/kvm-exit-log/index.ts';
import { type NativeListener, native } from '../../native/kvm-exit-log/native.ts';
import { codeOf } from '../lib/lone-vm.ts';
import { goodbye, nowMs, Told } from '../lib/told.ts';
import { endWorkers } from '../lib/worker-end.ts';

const MODULE = new URL('../../native/kvm-exit-log/index.ts', import.meta.url).href;

/** A server of Node's, and what connected to it. */
async function server(host = '127.0.0.1') {
  const sockets: Socket[] = [];
  const it: Server = createServer((socket) => {
    socket.on('error', () => {});
    sockets.push(socket);
  });
  it.listen(0, host);
  await once(it, 'listening');
  const address = it.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const close = (): void => {
    for (const socket of sockets) socket.destroy();
    it.close();
  };
  return { port, sockets, close };
}

const dial = suite('connecting');

dial('what is sent before it is connected arrives, and answers come', async () => {
  const there = await server();
  const told = new Told();
  const link = Link.to('127.0.0.1', there.port);
  assert.is(link.remote, `127.0.0.1:${there.port}`);
  assert.is(link.heardMs(), 0);
  link.start(told);
  assert.ok(link.send(goodbye));
  await until('it connects', () => there.sockets.length === 1);
  const [got] = (await once(there.sockets[0] as Socket, 'data')) as [Buffer];
  assert.ok(got.equals(goodbye));
  there.sockets[0]?.write(goodbye);
  await until('the answer', () => told.frames.length === 1);
  assert.ok(told.frames[0]?.equals(goodbye));
  assert.ok(Math.abs(link.heardMs() - nowMs()) < 1000);
  there.sockets[0]?.end();
  await until('the end', () => told.closes.length === 1);
  assert.equal(told.closes, ['peer-lost: the peer closed the connection']);
  assert.is(link.heardMs(), 0);
  assert.ok(link.send(goodbye));
  link.end();
  link.drop();
  await pause(20);
  assert.is(told.closes.length, 1);
  there.close();
});

dial('a host name, and IPv6', async () => {
  for (const [host, at] of [
    ['localhost', '127.0.0.1'],
    ['::1', '::1'],
  ] as const) {
    const accepted: Link[] = [];
    const listener = await Listener.on(at, 0, (link) => accepted.push(link));
    const link = Link.to(host, listener.port);
    const told = new Told();
    link.start(told);
    await until('it connects', () => accepted.length === 1);
    assert.match(accepted[0]?.remote ?? '', at === '::1' ? /^::1:\d+$/ : /^127\.0\.0\.1:\d+$/);
    link.drop();
    accepted[0]?.drop();
    listener.close();
  }
});

dial('that nobody listens, that there is no such host, is told as the end', async () => {
  const there = await server();
  there.close();
  for (const [host, words] of [
    ['127.0.0.1', 'peer-lost: connection error ECONNREFUSED'],
    ['localhost', 'peer-lost: connection error ECONNREFUSED'],
    ['no-such-host.invalid', /^peer-lost: connection error (ENOTFOUND|EAI_AGAIN)$/],
  ] as const) {
    const told = new Told();
    const link = Link.to(host, there.port);
    link.start(told);
    link.send(goodbye);
    await until('it is told', () => told.closes.length > 0, 30_000);
    assert.match(told.closes[0] ?? '', words);
    assert.ok(link.send(goodbye));
    await pause(10);
    assert.is(told.closes.length, 1);
  }
});

dial('given up while it connects, nothing is told and nobody is called', async () => {
  const there = await server();
  for (const name of ['127.0.0.1', 'localhost']) {
    for (const after of [0, 1, 2]) {
      const told = new Told();
      const link = Link.to(name, there.port);
      link.start(told);
      link.send(goodbye);
      for (let n = 0; n < after; n++) await new Promise((resolve) => setImmediate(resolve));
      link.drop();
      await pause(20);
      assert.equal([told.closes, told.frames], [[], []]);
      assert.is(link.heardMs(), 0);
    }
  }
  there.close();
});

dial('an end while it connects is an end, and does not wait for ever', async () => {
  // One more is never answered.
  const full = await fullListener();
  const told = new Told();
  const link = Link.to('127.0.0.1', full.port);
  link.start(told);
  link.send(goodbye);
  const fromMs = nowMs();
  link.end();
  assert.equal(told.closes, []);
  await until('the end', () => told.closes.length === 1);
  assert.equal(told.closes, ['peer-lost: the connection closed']);
  assert.ok(nowMs() - fromMs > 900, 'what is queued has a second');
  full.end();
});

/** A listener whose queue of connections is full, in a process of its own that stands still. */
async function fullListener() {
  const source = `
    const server = require('node:net').createServer();
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
      process.stdout.write(String(server.address().port), () => process.kill(process.pid, 'SIGSTOP'));
    });
  `;
  const child = spawn(process.execPath, ['-e', source]);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  const sockets = [1, 2, 3].map(() => connect({ port, host: '127.0.0.1' }));
  for (const socket of sockets) socket.on('error', () => {});
  await pause(100);
  return {
    port,
    end(): void {
      for (const socket of sockets) socket.destroy();
      child.kill('SIGKILL');
    },
  };
}

dial.run();

const listening = suite('listening');

listening('an address that is in use, that is none of ours, that is no host', async () => {
  const it = await Listener.on('127.0.0.1', 0, () => {});
  const failure = async (host: string, port: number): Promise<Error & { code: string }> => {
    try {
      (await Listener.on(host, port, () => {})).close();
    } catch (error) {
      return error as Error & { code: string };
    }
    throw new Error('it listens');
  };
  const used = await failure('127.0.0.1', it.port);
  assert.is(used.code, 'EADDRINUSE');
  assert.is(used.message, `listen EADDRINUSE: address already in use 127.0.0.1:${it.port}`);
  const foreign = await failure('192.0.2.1', 7700);
  assert.is(foreign.message, 'listen EADDRNOTAVAIL: address not available 192.0.2.1:7700');
  assert.match(
    (await failure('no-such-host.invalid', 7700)).message,
    /^getaddrinfo (ENOTFOUND|EAI_AGAIN)/,
  );
  const { port } = it;
  it.close();
  it.close();
  assert.is(it.port, 0);
  (await Listener.on('127.0.0.1', port, () => {})).close();
});

listening('closed, what was accepted stays', async () => {
  const links: Link[] = [];
  const it = await Listener.on('127.0.0.1', 0, (link) => links.push(link));
  const socket = connect(it.port, '127.0.0.1');
  await until('it is there', () => links.length === 1);
  it.close();
  const told = new Told();
  links[0]?.start(told);
  socket.write(goodbye);
  await until('its frame', () => told.frames.length === 1);
  links[0]?.drop();
  socket.destroy();
});

/** A process with room for few descriptors. */
const FEW = `
  import { connect } from 'node:net';
  import { openSync, closeSync } from 'node:fs';
  const { Listener } = await import(${JSON.stringify(MODULE)});
  let accepted = 0;
  const it = await Listener.on('127.0.0.1', 0, (link) => { accepted += 1; link.drop(); });
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const first = connect(it.port, '127.0.0.1').on('error', () => {});
  await new Promise((resolve) => first.on('close', resolve));
  if (accepted !== 1) throw new Error('accepted ' + accepted);
  const late = connect(it.port, '127.0.0.1').on('error', () => {});
  const end = new Promise((resolve) => late.on('close', resolve));
  const fds = [];
  try { for (;;) fds.push(openSync('/dev/null')); } catch {}
  const { user, system } = process.cpuUsage();
  await end;
  await pause(200);
  const { user: u, system: s } = process.cpuUsage();
  console.log(accepted, u + s - user - system < 150_000 ? 'quiet' : 'spins ' + (u + s - user - system));
  for (const fd of fds) closeSync(fd);
  const last = connect(it.port, '127.0.0.1').on('error', () => {});
  await new Promise((resolve) => last.on('close', resolve));
  console.log(accepted);
  it.close();
`;

listening('without a descriptor left whoever comes is turned away, and nobody spins', async () => {
  // Not by a shell: with TSan's library in it, none starts.
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', FEW];
  const child = spawn('prlimit', ['--nofile=64', ...node], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number];
  assert.equal([code, text], [0, '1 quiet\n2\n']);
});

listening('a worker that ends by force, with links and listeners at work', async () => {
  await endWorkers(
    ['terminate', 'exit'],
    `const { Link, Listener, Courier, ExitRing } = addon;
     const links = [];
     const courier = new Courier(new ExitRing(8, 4096), () => {}, 1000);
     const listener = new Listener('127.0.0.1', 0, () => {
       const link = new Link();
       if (!listener.accept(link)) return;
       link.start(() => {});
       if (links.push(link) === 1) courier.attach(link);
       if (links.length === 3) up();
     });
     for (let n = 0; n < 3; n++) {
       const link = new Link();
       link.start(() => {});
       link.connect(['127.0.0.1'], listener.port());
       links['out' + n] = link;
     }`,
  );
});

listening.run();

const misuse = suite('misuse');

const JUNK = [
  undefined,
  null,
  -1,
  0.5,
  70_000,
  '',
  'x\0',
  'no address',
  Symbol('x'),
  {},
  [],
  [7],
  ['x'],
];

misuse('whatever is passed in, it throws by name or does nothing', async () => {
  const said = new Set<string>();
  const tried = (run: () => unknown): void => {
    const code = codeOf(run);
    assert.not.equal(code, 'undefined', 'an error has a code');
    said.add(code);
  };
  const { Link: Bare, Listener: BareListener } = native;
  const calls = ['start', 'connect', 'lost', 'send', 'end', 'drop', 'heardMs', 'remote'] as const;
  const args = [...JUNK.map((junk) => [junk]), ...JUNK.map((junk) => [['127.0.0.1'], junk])];
  for (const given of args) {
    for (const call of calls) {
      const link = new Bare();
      tried(() => (link[call] as (...args: unknown[]) => unknown)(...given));
      link.start(() => {});
      tried(() => (link[call] as (...args: unknown[]) => unknown)(...given));
      link.drop();
      tried(() => (link[call] as (...args: unknown[]) => unknown)(...given));
    }
    const Loose = BareListener as unknown as new (...args: unknown[]) => NativeListener;
    tried(() => new Loose(...given, () => {}));
    tried(() => new Loose('127.0.0.1', 0, given[0]));
    const listener = new Loose('127.0.0.1', 0, () => {});
    tried(() => listener.accept(given[0] as never));
    tried(() => listener.accept(listener as never));
    listener.close();
    tried(() => listener.accept(new Bare()));
  }
  const wanted = ['ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE', 'none'];
  assert.equal([...said].sort(), wanted);
});

misuse('no descriptor is left', async () => {
  const count = (): number => readdirSync('/proc/self/fd').length;
  const before = count();
  for (let round = 0; round < 20; round++) {
    const links: Link[] = [];
    const listener = await Listener.on('127.0.0.1', 0, (link) => links.push(link));
    const out = Link.to('127.0.0.1', listener.port);
    out.start(new Told());
    const dead = Link.to('127.0.0.1', 1);
    dead.start(new Told());
    await until('it is there', () => links.length === 1);
    for (const link of [out, dead, ...links]) link.drop();
    listener.close();
  }
  await until('all are closed', () => count() <= before);
});

misuse.run();
