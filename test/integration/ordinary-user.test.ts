// SPDX-License-Identifier: Apache-2.0
/**
 * All as an ordinary user, after one step of root's: `npm start` with taps made beforehand, its
 * two daemons, their QEMUs. The user is nobody, in a network namespace of the test's own.
 *
 *   npm test integration/ordinary-user
 */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cacheDir } from '#scripts/paths.mjs';
import { ip } from '../../src/lab/netns.ts';
import { root, run, scratch } from '../lib/command.ts';

const USER = 'nobody';
const UID = 65_534;
const PLAY_MS_MAX = 240_000;
const ordinary = suite('an ordinary user');

/** A folder of the user's. */
function own(path: string): string {
  mkdirSync(path, { recursive: true });
  chownSync(path, UID, UID);
  return path;
}

/**
 * Words that run something as that user, who sees checkout and cache also where they are in root's
 * home, and has a cache of its own with all that is in ours.
 */
function asUser(dir: string): { words: string[]; env: Record<string, string> } {
  chmodSync(dir, 0o755);
  for (const name of ['home', 'tmp']) own(join(dir, name));
  const cache = own(join(dir, 'cache', 'understudy'));
  for (const name of readdirSync(cacheDir())) {
    if (!name.endsWith('.lock')) symlinkSync(join(cacheDir(), name), join(cache, name));
  }
  const seen = [root.replace(/\/$/, ''), join(homedir(), '.cache', 'understudy')];
  const inHome = seen.filter((path) => path.startsWith(`${homedir()}/`) && existsSync(path));
  const kept = inHome.map((path, index) => ({ path, at: join(dir, `kept-${index}`) }));
  const lines = [
    'set -e; umask 022; mount --make-rprivate /',
    ...kept.map(({ path, at }) => `mkdir -p ${at}; mount --rbind ${path} ${at}`),
    ...(kept.length > 0 ? [`mount -t tmpfs -o mode=0755 none ${homedir()}`] : []),
    ...kept.map(({ path, at }) => `mkdir -p ${path}; mount --rbind ${at} ${path}`),
    // As udev makes it.
    `mkdir -p ${dir}/dev; mount -t tmpfs none ${dir}/dev; mknod -m 666 ${dir}/dev/tun c 10 200`,
    `mount --bind ${dir}/dev/tun /dev/net/tun`,
    `exec setpriv --reuid ${UID} --regid ${UID} --clear-groups --no-new-privs "$@"`,
  ];
  return {
    words: ['unshare', '--mount', 'sh', '-c', lines.join('\n'), 'sh'],
    env: {
      ...(process.env as Record<string, string>),
      HOME: join(dir, 'home'),
      TMPDIR: join(dir, 'tmp'),
      XDG_CACHE_HOME: join(dir, 'cache'),
      XDG_STATE_HOME: join(dir, 'home', 'state'),
    },
  };
}

interface Seen {
  readonly program: string;
  readonly uid: string | undefined;
  readonly capabilities: string | undefined;
  readonly seccomp: string | undefined;
}

/** The daemons and QEMUs that work below a folder. */
function processesOf(dir: string): Seen[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
      if (!words.some((word) => word.includes(dir))) return [];
      const program = /qemu-system|\bunderstudy$/.exec(words.slice(0, 2).join(' '))?.[0];
      if (program === undefined) return [];
      const status = readFileSync(`/proc/${pid}/status`, 'latin1');
      const field = (name: string): string =>
        new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
      const role = program === 'understudy' ? (words[2] ?? '') : program;
      const [uid, capabilities, seccomp] = ['Uid', 'CapEff', 'Seccomp'].map(field);
      return [{ program: role, uid, capabilities, seccomp }];
    } catch {
      return []; // it has ended
    }
  });
}

ordinary('plays the demo with taps that root has made, its daemons and QEMUs too', async () => {
  assert.is(process.getuid?.(), 0, 'this test becomes another user: run it as root');
  const dir = scratch('ordinary');
  const name = `us-ordinary-${process.pid}`;
  const prefix = ['netns', 'exec', name];
  ip('netns', 'add', name);
  try {
    ip('-n', name, 'link', 'set', 'lo', 'up');
    const { words, env } = asUser(dir);
    const start = [process.execPath, join(root, 'scripts', 'start.mjs'), '--json'];
    const play = (...flags: string[]) =>
      spawn('ip', [...prefix, ...words, ...start, ...flags], {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    const asRoot = (...flags: string[]) => run(['demo', ...flags], { prefix: ['ip', ...prefix] });
    const ended = async (child: ReturnType<typeof play>) => {
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
      child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
      const timer = setTimeout(() => child.kill('SIGKILL'), PLAY_MS_MAX);
      const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
      clearTimeout(timer);
      return { code, stdout, stderr };
    };
    const before = await ended(play());
    assert.is(before.code, 13, before.stderr);
    assert.match(before.stderr, 'demo --make-network USER');

    const made = await asRoot('--make-network', USER);
    assert.is(made.code, 0, made.stderr);
    const child = play('--seconds-before', '2', '--seconds-after', '1');
    const end = ended(child);
    const seen = new Map<string, Seen>();
    let isOver = false;
    void end.then(() => (isOver = true));
    while (!isOver) {
      for (const one of processesOf(dir)) seen.set(one.program, one);
      await sleep(100);
    }
    const { code, stdout, stderr } = await end;
    assert.is(code, 0, stderr);
    assert.is((JSON.parse(stdout) as { survived: boolean }).survived, true);
    for (const name of ['primary', 'backup', 'qemu-system']) {
      const one = seen.get(name);
      assert.ok(one !== undefined, `${name} was seen`);
      assert.match(one?.uid ?? '', new RegExp(`^${UID}(\\s+${UID}){3}$`), name);
      assert.is(one?.capabilities, '0'.repeat(16), name);
    }
    assert.is(seen.get('qemu-system')?.seccomp, '2');

    const cut = await ended(play('--fault', 'link'));
    assert.is(cut.code, 13, cut.stderr);
    assert.match(cut.stderr, 'needs root');
    const gone = await asRoot('--remove-network');
    assert.is(gone.code, 0, gone.stderr);
    const again = await asRoot('--make-network', 'no-such-user');
    assert.is(again.code, 2, again.stderr);
  } finally {
    ip('netns', 'delete', name);
  }
});

ordinary.run();
