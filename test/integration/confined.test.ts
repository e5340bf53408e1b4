// SPDX-License-Identifier: Apache-2.0
/**
 * A QEMU that a guest has taken over reaches nothing: code in its place
 * (qemu/exitlog/verify/fault-escape.c) tries, in three of its threads; and the same of a QEMU
 * that is not confined comes through, or the test would say nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listCheckpoints } from '../../src/checkpoint/manifest.ts';
import { Recorder } from '../../src/record/recorder.ts';
import { recordingPaths } from '../../src/recording/folder.ts';
import { loadConfig } from '../../src/vm/config.ts';
import { confinement } from '../../src/vm/confinement.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { QemuProcess } from '../../src/vm/qemu-process.ts';
import { runJson, scratch, start } from '../lib/command.ts';
import { makeNetns } from '../lib/netns.ts';
import { referenceGuest } from '../lib/workloads.ts';

const dir = scratch('confined');
const guest = await referenceGuest();
const qemu = await findQemu();
const isRoot = process.geteuid?.() === 0;
/** In the middle of the kernel's start. */
const ESCAPE_AT = 60_000_000;
const THREADS = ['vCPU', 'main loop', 'RCU'];
const WAIT_MS_MAX = 40_000;

interface Escape {
  /** What each thread got, "THREAD: WHAT", in order. */
  readonly refused: readonly string[];
  readonly through: readonly string[];
  /** /proc/PID/status and limits, while the guest runs. */
  readonly status: string;
  readonly limits: string;
  readonly environment: string;
  readonly out: string;
}

function vm(name: string, more: readonly string[] = []): string {
  const file = join(dir, `${name}.toml`);
  const lines = [
    `name = "${name}"`,
    'memory = "128M"',
    `kernel = ${JSON.stringify(guest.kernel)}`,
    `initrd = ${JSON.stringify(guest.initrd)}`,
    `append = ${JSON.stringify(`${guest.append} us.run=shell`)}`,
    ...more,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

/** Words of a command line without what confines. */
function unconfined(args: readonly string[]): string[] {
  const kept = [...args];
  const sandbox = kept.indexOf('-sandbox');
  if (sandbox >= 0) kept.splice(sandbox, 2);
  return kept.map((word) => word.replace(/,confine=[^,]*/, ''));
}

/** Records a VM in which that happens, and ends it. */
async function escaped(
  file: string,
  name: string,
  { confined = true, checkpoints = false } = {},
): Promise<Escape> {
  const lines: string[] = [];
  const destination = { write: (line: string): unknown => lines.push(line) };
  const pids: number[] = [];
  const { spawn } = QemuProcess;
  QemuProcess.spawn = async (options) => {
    const args = confined ? options.args : unconfined(options.args);
    const started = await spawn.call(QemuProcess, { ...options, args });
    pids.push(started.pid);
    return started;
  };
  process.env.UNDERSTUDY_FAULT = `escape:${ESCAPE_AT}`;
  const out = join(dir, name);
  try {
    const recorder = await Recorder.start(
      {
        config: loadConfig(file),
        out,
        qemu,
        logger: pino({ level: 'warn' }, destination),
        onConsole: () => {},
        onWarning: () => {},
        digestEvery: 0,
        checkpoints: checkpoints
          ? { everyInstructions: 20_000_000, everyMs: 0, chainMax: 2 }
          : null,
      },
      () => false,
    );
    const said = (): string[] =>
      lines.flatMap((line) => /exitlog: escape: (.*)"/.exec(line)?.[1] ?? []);
    const isDone = (): boolean =>
      THREADS.every((thread) => said().some((text) => text.startsWith(`${thread}: tried`)));
    const endMs = Date.now() + WAIT_MS_MAX;
    while (!isDone()) {
      assert.ok(Date.now() < endMs, `it never tried: ${lines.join('')}`);
      await sleep(10);
    }
    const of = (entry: string): string => readFileSync(`/proc/${pids[0]}/${entry}`, 'latin1');
    const seen = { status: of('status'), limits: of('limits'), environment: of('environ') };
    if (checkpoints) await checkpointAfter(recordingPaths(out).checkpoints, endMs);
    recorder.stop();
    await recorder.finished;
    const tried = (how: string): string[] =>
      said().flatMap((text) => new RegExp(`^(.*): ${how} \\(`).exec(text)?.[1] ?? []);
    return { refused: tried('refused'), through: tried('came through'), out, ...seen };
  } finally {
    QemuProcess.spawn = spawn;
    delete process.env.UNDERSTUDY_FAULT;
  }
}

/** One that was begun by a confined QEMU. */
async function checkpointAfter(folder: string, endMs: number): Promise<void> {
  const before = listCheckpoints(folder).length;
  while (listCheckpoints(folder).length <= before + 1) {
    assert.ok(Date.now() < endMs, 'no checkpoint was made');
    await sleep(50);
  }
}

function field(status: string, name: string): string {
  return new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? '';
}

const confined = suite('a confined QEMU');

confined(
  'opens no file, makes no socket, starts no program; its user, rights and limits',
  async () => {
    const { refused, through, status, limits, environment } = await escaped(vm('plain'), 'plain');
    assert.equal(through, []);
    assert.ok(refused.length === 3 * 22, `${refused.length} were refused`);
    for (const thread of THREADS) {
      for (const what of ['read /etc/passwd', 'make an IP socket', 'start a program']) {
        assert.ok(refused.includes(`${thread}: ${what}`), `${thread}: ${what}`);
      }
    }
    assert.is(field(status, 'Seccomp'), '2');
    assert.is(field(status, 'NoNewPrivs'), '1');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) {
      assert.is(field(status, set), '0'.repeat(16), set);
    }
    const { user } = confinement();
    const uid = String(user?.uid ?? process.geteuid?.());
    assert.is(field(status, 'Uid'), [uid, uid, uid, uid].join('\t'));
    if (isRoot) assert.equal([uid === '0', field(status, 'Groups').trim()], [false, '']);
    assert.match(limits, /^Max core file size +0 +0 /m);
    assert.is(environment, '');
  },
);

confined('writes checkpoints, and nothing beside them', async () => {
  const { through, out } = await escaped(vm('saved'), 'saved', { checkpoints: true });
  assert.equal(through, []);
  const points = listCheckpoints(recordingPaths(out).checkpoints);
  assert.ok(points.length >= 2, `${points.length} checkpoints`);
  const { code, json, stderr } = await runJson(['replay', out, '--verify']);
  assert.is(code, 0, stderr);
  assert.is(json.verified, true);
});

confined('with a user-mode network it has sockets of IP, and nothing else', async () => {
  const file = vm('network', ['[[nic]]', 'user = true']);
  const { through } = await escaped(file, 'network');
  assert.equal(
    through,
    THREADS.map((thread) => `${thread}: make an IP socket`),
  );
});

confined('what is refused comes through where nothing confines', async () => {
  const { refused, through } = await escaped(vm('open'), 'open', { confined: false });
  assert.ok(through.includes('vCPU: read /etc/passwd'), refused.join('; '));
  assert.ok(through.includes('RCU: make a Unix socket'));
  assert.ok(through.includes('main loop: start a process'));
  if (isRoot) assert.equal(refused, []); // all of it is a refusal of ours
});

/** A user namespace without a map: whoever is root outside is nobody in it, with root's files. */
const ORDINARY = { prefix: ['unshare', '--user'] };

confined('an ordinary user records, replays, verifies', async () => {
  const out = join(dir, 'ordinary');
  const file = vm('ordinary');
  const text = readFileSync(file, 'utf8').replace('us.run=shell', 'us.run=poweroff');
  writeFileSync(file, text);
  const recorded = await runJson(
    ['record', file, '--out', out, '--checkpoint-every', '3e8i'],
    ORDINARY,
  );
  assert.is(recorded.code, 0, recorded.stderr);
  const replayed = await runJson(['replay', out, '--verify'], ORDINARY);
  assert.is(replayed.code, 0, replayed.stderr);
  assert.is(replayed.json.verified, true);
});

confined('an ordinary user, with a tap that was made beforehand', async () => {
  const netns = makeNetns('confined');
  if (netns === null) return; // this user cannot make one: nor is there anything to compare
  try {
    const file = vm('tapped', ['[[nic]]', `tap = "${netns.tap}"`]);
    const text = readFileSync(file, 'utf8').replace(
      'us.run=shell',
      `us.run=shell us.ip=${netns.guestIp}/24`,
    );
    writeFileSync(file, text);
    const prefix = [...netns.prefix, ...ORDINARY.prefix];
    const record = start(['record', file, '--out', join(dir, 'tapped')], { prefix });
    await record.printed('guest# ');
    record.child.stdin?.write(`ping -c 2 -W 5 ${netns.hostIp} | grep received\n`);
    await record.printed('2 packets received');
    record.child.stdin?.write('exit\n');
    const { code, stderr } = await record.done;
    assert.is(code, 0, stderr);
  } finally {
    netns.remove();
  }
});

confined.run();
