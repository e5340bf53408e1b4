// SPDX-License-Identifier: Apache-2.0
/**
 * Disks that are full or fail, on one side only: what the guest is told and what it
 * reads afterwards is the same in every replay, or the disk is named.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Running, run, runJson, scratch, start } from '../lib/command.ts';
import { diskSectorVm, FailingDisk, FIRST_BYTE, ROUND_BYTES } from '../lib/disk-sector.ts';
import { ask } from '../lib/fake-vm-pair.ts';
import { freePort } from '../lib/free-port.ts';
import { PATIENT } from '../lib/patience.ts';

const { EIO, ENOSPC } = constants.errno;
const ROUNDS = 24;
const TIMEOUT_MS = 60_000;

/** Bytes of the nth write. */
const nth = (n: number, more = 1) => ({
  from: FIRST_BYTE + n * ROUND_BYTES,
  end: FIRST_BYTE + (n + more) * ROUND_BYTES,
});

/** Replays, on disks that are well; all of it is equal. */
async function replayed(out: string): Promise<void> {
  const { code, json, stderr } = await runJson(['replay', out, '--verify'], {
    timeoutMs: TIMEOUT_MS,
  });
  assert.is(code, 0, stderr);
  assert.ok(json.verified === true && json.disks_identical === true, JSON.stringify(json));
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const untilMs = Date.now() + TIMEOUT_MS;
  while (!holds()) {
    if (Date.now() > untilMs) throw new Error(`${what}: not within ${TIMEOUT_MS} ms`);
    await sleep(20);
  }
}

const full = suite('a full disk');

/**
 * Records on a file system of 1 MiB, in a mount namespace of its own: room for the
 * boot sector and 16 of 24 writes or so.
 */
function recordInLittleRoom(dir: string, ...words: string[]) {
  const mnt = join(dir, 'mnt');
  const vm = diskSectorVm(dir, { rounds: ROUNDS, image: join(mnt, 'disk.raw') });
  const script =
    'mkdir -p "$0" && mount -t tmpfs -o size=768k none "$0" && ' +
    'cp --sparse=always "$0/../sector" "$0/disk.raw" && exec "$@"';
  const out = join(dir, 'recording');
  let stderr = '';
  const recorder: Running = start(['record', vm, '--out', out, ...words], {
    prefix: ['unshare', '-m', 'sh', '-c', script, mnt],
    timeoutMs: TIMEOUT_MS,
  });
  recorder.child.stderr?.on('data', (text: string) => {
    stderr += text;
  });
  return { recorder, out, mnt, stderr: () => stderr };
}

full('that is reported: the guest reads the same in a replay', async () => {
  const dir = scratch('disk-report');
  const { recorder, out } = recordInLittleRoom(dir, '--on-disk-error', 'report');
  const { code, stdout, stderr } = await recorder.done;
  assert.is(code, 0, stderr);
  assert.match(stdout, /w{8,23}E+/);
  assert.match(stderr, /disk0 \(.*mnt\/disk\.raw\): No space left on device, a write.*is told/);
  await replayed(out);
  rmSync(dir, { recursive: true });
});

full('that stops the guest: it goes on when there is room', async () => {
  const dir = scratch('disk-stop');
  const { recorder, out, mnt, stderr } = recordInLittleRoom(dir);
  await until('it is told', () => /file system is full/.test(stderr()));
  assert.match(stderr(), /disk0 \(.*mnt\/disk\.raw\): No space left on device, \d+ bytes at byte/);
  await sleep(1200);
  assert.not.ok(/E|\n/.test(recorder.stdout().replace(/^[^w]*/s, '')), recorder.stdout());
  execFileSync('nsenter', [
    ...['-t', `${recorder.child.pid}`, '-m', 'mount', '-o', 'remount,size=4m', mnt],
  ]);
  const { code, stdout } = await recorder.done;
  assert.is(code, 0, stderr());
  assert.match(stdout, new RegExp(`w{${ROUNDS}}`));
  assert.match(stderr(), /have room again/);
  await replayed(out);
  rmSync(dir, { recursive: true });
});

full('that stops the guest: its recording can be ended meanwhile', async () => {
  const dir = scratch('disk-end');
  const { recorder, out, stderr } = recordInLittleRoom(dir);
  await until('it is told', () => /file system is full/.test(stderr()));
  recorder.child.kill('SIGINT');
  const { code } = await recorder.done;
  assert.is(code, 0, stderr());
  await replayed(out);
  rmSync(dir, { recursive: true });
});

full('of a replay: it is named', async () => {
  const dir = scratch('disk-replay');
  const disk = new FailingDisk(dir, '.raw');
  const out = join(dir, 'recording');
  const vm = diskSectorVm(dir, { rounds: ROUNDS });
  assert.is((await run(['record', vm, '--out', out], { timeoutMs: TIMEOUT_MS })).code, 0);
  disk.set({ what: 'write', errno: ENOSPC, ...nth(7) });
  const { code, json, stderr } = await runJson(['replay', out], { env: disk.env });
  assert.is(code, 1, stderr);
  const { error } = json as { error?: { code?: string; message?: string } };
  assert.is(error?.code, 'disk-full', stderr);
  assert.match(
    error?.message ?? '',
    /disk0: No space left on device, a write of \d+ bytes.*TMPDIR/,
  );
  rmSync(dir, { recursive: true });
});

full.run();

const pairs = suite('a pair');

interface Side {
  readonly running: Running;
  readonly disk: FailingDisk;
  readonly console: () => string;
  readonly status: () => Promise<Record<string, unknown> | null>;
}

type Faults = Parameters<FailingDisk['set']>;
const NO_ROOM: Faults = [{ what: 'write', errno: ENOSPC, ...nth(7), percent: 50 }];

interface PairOptions {
  /** Bytes of each side's disk, at first. */
  readonly faults: Readonly<Partial<Record<'primary' | 'backup', Faults>>>;
  readonly on?: string;
  readonly flush?: true;
  /** Another line of [replication]. */
  readonly line?: string;
}

/** Both sides' daemons, whose guest writes and reads back. */
async function startPair(dir: string, { faults, line = '', ...vm }: PairOptions) {
  const port = await freePort();
  const state = join(dir, 'state');
  mkdirSync(join(dir, 'arbiter'), { recursive: true });
  const replication = `[replication]\nprimary = "127.0.0.1:${port}"\narbiter = "dir:${join(dir, 'arbiter')}"\n${PATIENT}\n${line}\n`;
  const side = (name: 'primary' | 'backup'): Side => {
    const toml = diskSectorVm(join(dir, name), { rounds: ROUNDS, replication, ...vm });
    const disk = new FailingDisk(join(dir, name));
    disk.set(...(faults[name] ?? []));
    const running = start([name, toml], {
      env: { ...disk.env, UNDERSTUDY_STATE_DIR: state },
      timeoutMs: TIMEOUT_MS,
    });
    const folder = join(state, `sector-${name}`);
    return {
      running,
      disk,
      console: () => readFileSync(join(folder, 'console.log'), 'latin1'),
      status: async () => {
        const answer = await ask(join(folder, 'status.sock'), { cmd: 'status' });
        return (answer?.status as Record<string, unknown> | undefined) ?? null;
      },
    };
  };
  return { primary: side('primary'), backup: side('backup'), state };
}

pairs('whose primary has a full disk hands over, and the guest hears of nothing', async () => {
  const dir = scratch('disk-pair-primary');
  const { primary, backup } = await startPair(dir, { faults: { primary: NO_ROOM } });
  const old = await primary.running.done;
  assert.is(old.code, 0, old.stderr);
  assert.match(old.stderr, /disk0 \(.*primary\/disk\.raw\): No space left on device/);
  assert.match(old.stderr, /handed over/);
  const { code, stderr } = await backup.running.done;
  assert.is(code, 0, stderr);
  assert.match(backup.console(), new RegExp(`w{${ROUNDS}}[^eE]+\n`));
  rmSync(dir, { recursive: true });
});

pairs('whose backup has a full disk goes on without it, and says which', async () => {
  const dir = scratch('disk-pair-backup');
  const { primary, backup } = await startPair(dir, { faults: { backup: NO_ROOM } });
  const lost = await backup.running.done;
  assert.is(lost.code, 1, lost.stderr);
  assert.match(lost.stderr, /disk0 \(.*backup\/disk\.raw\): No space left on device/);
  const { code, stderr } = await primary.running.done;
  assert.is(code, 0, stderr);
  assert.match(stderr, /disk0 \(.*backup\/disk\.raw\): No space left on device/);
  assert.match(primary.console(), new RegExp(`w{${ROUNDS}}[^eE]+\n`));
  rmSync(dir, { recursive: true });
});

pairs('with two full disks waits for room on the primary, and says so', async () => {
  const dir = scratch('disk-pair-both');
  const faults = { primary: NO_ROOM, backup: NO_ROOM };
  const { primary, state } = await startPair(dir, { faults });
  let seen: Record<string, unknown> | null = null;
  const untilMs = Date.now() + TIMEOUT_MS;
  while (!(seen?.state === 'needs-backup' && seen.disk_waits === true)) {
    if (Date.now() > untilMs) throw new Error(`it does not wait: ${JSON.stringify(seen)}`);
    await sleep(50);
    seen = await primary.status();
  }
  assert.match(String(seen.disk_error), /disk0 \(.*primary\/disk\.raw\): No space left on device/);
  const { code, stdout } = await run(['status', 'sector'], {
    env: { UNDERSTUDY_STATE_DIR: state },
  });
  assert.is(code, 4);
  assert.match(stdout, /disk error +disk0 .*the guest waits/);
  primary.disk.set();
  const end = await primary.running.done;
  assert.is(end.code, 0, end.stderr);
  assert.match(end.stderr, /have room again/);
  assert.match(primary.console(), new RegExp(`w{${ROUNDS}}[^eE]+\n`));
  rmSync(dir, { recursive: true });
});

const FAILS: readonly { what: 'write' | 'flush'; vm: Omit<PairOptions, 'faults'>; all: RegExp }[] =
  [
    { what: 'write', vm: {}, all: new RegExp(`w{${ROUNDS}}[^eE]+\n`) },
    { what: 'flush', vm: { on: 'ide', flush: true }, all: new RegExp(`w{${ROUNDS}}f[^eEg]*\n`) },
  ];

for (const { what, vm, all } of FAILS) {
  pairs(
    `whose primary's disk fails a ${what} hands over, and the guest hears of nothing`,
    async () => {
      const dir = scratch(`disk-pair-fails-${what}`);
      const fault = { what, errno: EIO, ...(what === 'write' ? nth(7) : {}), percent: 40 };
      const { primary, backup } = await startPair(dir, { faults: { primary: [fault] }, ...vm });
      const old = await primary.running.done;
      assert.is(old.code, 0, old.stderr);
      assert.match(old.stderr, new RegExp(`handed over \\(disk0 .*Input/output error, a ${what}`));
      const { code, stderr } = await backup.running.done;
      assert.is(code, 0, stderr);
      assert.match(backup.console(), all);
      rmSync(dir, { recursive: true });
    },
  );
}

pairs('whose disks both fail tells the guest, on the side that is left', async () => {
  const dir = scratch('disk-pair-both-fail');
  const fault = [{ what: 'write', errno: EIO, ...nth(7), percent: 40 }] as const;
  const faults = { primary: [...fault], backup: [...fault] };
  const { primary, backup } = await startPair(dir, { faults });
  const old = await primary.running.done;
  assert.match(old.stderr, /handed over/);
  const { code, stderr } = await backup.running.done;
  assert.is(code, 0, stderr);
  assert.match(stderr, /disk0 .*Input\/output error, a write.*the guest is told/);
  assert.match(backup.console(), /w{7}E/);
  rmSync(dir, { recursive: true });
});

pairs('with on_disk_error = "report" stays, and both guests read the same', async () => {
  const dir = scratch('disk-pair-report');
  const line = 'on_disk_error = "report"';
  const fault = { what: 'write', errno: EIO, ...nth(7), percent: 40 } as const;
  const { primary, backup } = await startPair(dir, { faults: { primary: [fault] }, line });
  const ends = [await primary.running.done, await backup.running.done];
  assert.equal(
    ends.map(({ code }) => code),
    [0, 0],
    ends.map(({ stderr }) => stderr).join(''),
  );
  assert.match(primary.console(), /w{7}E/);
  rmSync(dir, { recursive: true });
});

pairs.run();

const failing = suite('a disk that fails');

for (const on of ['virtio-blk', 'virtio-scsi', 'ide', 'ahci']) {
  failing(`on ${on}: writes half done, and reads`, async () => {
    const dir = scratch(`disk-fails-${on}`);
    const disk = new FailingDisk(dir);
    const vm = diskSectorVm(dir, { rounds: ROUNDS, on });
    const out = join(dir, 'recording');
    disk.set(
      { what: 'write', errno: EIO, ...nth(3, 2), percent: 40 },
      { what: 'write', errno: ENOSPC, ...nth(9), percent: 75 },
      { what: 'read', errno: EIO, ...nth(12, 2) },
    );
    const { code, stdout, stderr } = await run(
      ['record', vm, '--out', out, '--on-disk-error', 'report'],
      { env: disk.env, timeoutMs: TIMEOUT_MS },
    );
    assert.is(code, 0, stderr);
    assert.match(stdout, /w+E+w+E+w+.*e/s);
    await replayed(out);
    rmSync(dir, { recursive: true });
  });
}

failing('to write and to read back: what is read later is in the log', async () => {
  const dir = scratch('disk-doubt');
  const disk = new FailingDisk(dir);
  const vm = diskSectorVm(dir, { rounds: ROUNDS });
  const out = join(dir, 'recording');
  disk.set(
    { what: 'write', errno: EIO, ...nth(3), percent: 40 },
    { what: 'read', errno: EIO, ...nth(3) },
  );
  const recorder = start(['record', vm, '--out', out], { env: disk.env, timeoutMs: TIMEOUT_MS });
  await recorder.printed('E');
  disk.set({ what: 'write', errno: EIO, ...nth(3), percent: 40 });
  const { code, stdout, stderr } = await recorder.done;
  assert.is(code, 0, stderr);
  assert.match(stdout, /wE/);
  await replayed(out);
  rmSync(dir, { recursive: true });
});

failing('to flush: what it reads afterwards is in the log', async () => {
  const dir = scratch('disk-flush');
  const disk = new FailingDisk(dir);
  const vm = diskSectorVm(dir, { rounds: ROUNDS, on: 'ide', flush: true });
  const out = join(dir, 'recording');
  // As a host that drops from its cache what it could not write.
  disk.set({ what: 'flush', errno: EIO }, { what: 'read', errno: 0, ...nth(5, 3) });
  const { code, stdout, stderr } = await run(['record', vm, '--out', out], {
    env: disk.env,
    timeoutMs: TIMEOUT_MS,
  });
  assert.is(code, 0, stderr);
  assert.match(stdout, /w+g/);
  const { code: replay, stderr: said } = await run(['replay', out], { timeoutMs: TIMEOUT_MS });
  assert.is(replay, 0, said);
  rmSync(dir, { recursive: true });
});

failing.run();
