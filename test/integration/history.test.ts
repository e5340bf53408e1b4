// SPDX-License-Identifier: Apache-2.0
/**
 * `history = "10m"`: after a failover the last minutes of the side that died are replayed
 * and debugged from what the survivor holds, through the take-over and what it has lived
 * through since: its log is one.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { keyOf, POWER_ON, parsePoint } from '../../src/base/position.ts';
import { makeNetwork } from '../../src/lab/netns.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { openRecording } from '../../src/recording/folder.ts';
import { checkpointsOf } from '../lib/checkpoints.ts';
import { collect, comparedFrom, completed, kept, looks, replaysExactly } from '../lib/collected.ts';
import { run, runJson, scratch } from '../lib/command.ts';
import { gdb, killDebugServers, startDebug } from '../lib/debugger.ts';
import { openToOthers, withoutUmask } from '../lib/modes.ts';
import { NumberedLoad } from '../lib/numbered-load.ts';
import { Pair } from '../lib/pair.ts';
import { Client, TwoHosts } from '../lib/two-hosts.ts';
import { referenceGuest } from '../lib/workloads.ts';

const history = suite('the past of a pair');

/** Checkpoints far more often than for users, who have more time. */
const ENV = { UNDERSTUDY_HISTORY_EVERY_MS: '1000' };
const LINES = ['history = "10m"', 'digest_every = "5M"'];
/** Nobody is declared dead on a busy host; a connection that closes still tells. */
LINES.push('heartbeat_ms = 1000', 'heartbeat_missed = 60', 'stuck_ms_max = 60000');
const BOOT_MS = 240_000;
const KEPT_MS = 120_000;
/** What a checkpoint leaves free. */
const RESERVE_BYTES = 64 * 2 ** 20;
const CHUNK = 8 * 2 ** 20;

/** From the end one step back and on again, and to an output; all by gdb. */
async function debugs(recording: string, to: string, dir: string): Promise<void> {
  const server = await startDebug(recording, ['--from', 'end']);
  const script = [
    'monitor where',
    'reverse-stepi',
    'monitor where',
    'stepi',
    'monitor where',
    'monitor goto output 1',
    'monitor goto begin',
    'monitor checkpoints',
  ];
  const said = await gdb({ program: '/bin/true', target: server.target, script, dir });
  const [end = '', back = '', again, output = '', begin = ''] = [
    ...said.matchAll(/^icount (\d+)/gm),
  ].map(([, icount]) => icount);
  assert.is(end, to, said);
  assert.ok(BigInt(back) <= BigInt(end), said);
  assert.is(again, end, said);
  const { retained } = openRecording(recording);
  assert.is(begin, keyOf(retained?.from ?? POWER_ON.point), said);
  assert.is(output, await firstOutput(recording), said);
  assert.is(await server.end(), 0);
}

/** icount of the first output after the beginning, as the log has it. */
async function firstOutput(recording: string): Promise<string> {
  const { paths, retained } = openRecording(recording);
  const reader = new LogReader(paths.log, { tail: 'torn', fromIndex: 'oldest' });
  const begin = retained === null ? null : keyOf(retained.from);
  const icounts = begin === null ? ['begin'] : [];
  for await (const { batch } of reader) {
    for (const { kind, point } of batch.records()) {
      const icount = keyOf(point);
      if (kind === KIND.CHECKPOINT && icount === begin) icounts.push('begin');
      if (kind === KIND.NET_OUT || kind === KIND.CHAR_OUT) icounts.push(icount);
    }
  }
  return String(icounts[icounts.indexOf('begin') + 1]);
}

/** To its END, with the final digest, all that was printed, and the disk. */
async function verifies(whole: string, image: string): Promise<void> {
  await completed(whole, image);
  const { code, stderr } = await run(['replay', whole, '--verify'], { timeoutMs: 600_000 });
  assert.is(code, 0, stderr);
  const { json } = await runJson(['inspect', whole]);
  assert.equal(
    (json.terms as Array<Record<string, unknown>>).map(({ term }) => term),
    [1, 2],
  );
  const said = await run(['inspect', whole]);
  assert.match(said.stdout, /term 2 +from icount [\d,]+, batch [\d,]+/);
}

history('through a failover, by its survivor; and by the dead side itself', async () => {
  const dir = scratch('history');
  const guest = await referenceGuest();
  const pair = await withoutUmask(async () =>
    Pair.start(dir, guest, LINES, { env: { primary: ENV, backup: ENV } }),
  );
  let load: NumberedLoad | null = null;
  try {
    const state = dirname(pair.stateDir('backup'));
    await pair.until('it serves', () => pair.console('primary').includes('listening'), BOOT_MS);
    load = new NumberedLoad(pair, 7, 4);
    const enough = () => kept(pair.stateDir('backup')) >= 8;
    await pair.until('the backup keeps checkpoints', enough, KEPT_MS);
    await load.more(200);
    for (const side of ['primary', 'backup'] as const) {
      assert.equal(openToOthers(pair.stateDir(side)), [], side);
    }
    pair.signal('primary', 'SIGKILL');
    await pair.ended('primary');
    await pair.until('the backup lives', async () => {
      return (await pair.status('backup'))?.state === 'needs-backup';
    });
    await load.more(50);
    const before = kept(pair.stateDir('backup'));
    const lives = () => kept(pair.stateDir('backup')) >= before + 3;
    await pair.until('the survivor keeps checkpoints', lives, KEPT_MS);
    await load.more(50);
    await load.finish();
    assert.is((await pair.status('backup'))?.history, 'on');

    const last = join(dir, 'last');
    const made = await collect(['pair', '--side', 'backup', '--out', last], state);
    const to = String(made.to_icount);
    assert.is(made.from_icount, null, 'from power-on: it is younger than the history');
    assert.ok(!existsSync(join(last, 'end.json')));
    const [one, two] = made.terms as Array<Record<string, unknown>>;
    assert.equal([made.as, one?.term, two?.term], ['backup', 1, 2]);
    const tookOver = BigInt(String(two?.from_icount));
    const points = checkpointsOf(last);
    const earlier = points.filter((point) => BigInt(point) < tookOver);
    assert.ok(earlier.length >= 6 && points.length >= earlier.length + 3, `${points} ${tookOver}`);
    const compared = await comparedFrom(last, parsePoint(points[0] ?? '') ?? POWER_ON.point);
    assert.ok(compared.digests >= 5 && compared.packets >= 100, JSON.stringify(compared));
    await replaysExactly(last, to, [earlier.at(-1) ?? '', points[earlier.length] ?? '']);
    await debugs(last, to, dir);

    pair.signal('backup', 'SIGINT');
    await pair.ended('backup');
    const whole = join(dir, 'whole');
    await collect(['pair', '--side', 'backup', '--out', whole], state);
    await verifies(whole, join(dir, 'backup', 'disk.raw'));

    // The side that died, where its disk is still there.
    const untouched = looks(state);
    const own = join(dir, 'own');
    const other = await collect(['pair', '--side', 'primary', '--out', own], state);
    assert.is(looks(state), untouched, 'nothing of the state folders has changed');
    assert.is(other.as, 'primary');
    assert.is((other.terms as unknown[]).length, 1);
    await replaysExactly(own, String(other.to_icount));
    const packed = await run(['pack', own, '--out', join(dir, 'own.usr')]);
    assert.is(packed.code, 0, packed.stderr);
  } finally {
    load?.end();
    killDebugServers();
    await pair.end();
  }
});

history('a backup that has joined a running VM', async () => {
  const dir = scratch('history-join');
  const network = makeNetwork();
  const hosts = new TwoHosts({ dir, network, replication: LINES, env: ENV });
  let client: Client | null = null;
  try {
    hosts.start('a', 'primary');
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', BOOT_MS);
    await hosts.serving('a', BOOT_MS);
    client = new Client(network, 3);
    await until('the client connects', () => client?.connected === true);
    await hosts.crash('a');
    await hosts.until('b', 'needs-backup', BOOT_MS);
    hosts.start('a', 'backup');
    await hosts.until('b', 'protected', BOOT_MS);
    await hosts.until('a', 'standby', BOOT_MS);
    // The one that it joined at, and some that it has written.
    await until('it keeps checkpoints', () => kept(hosts.stateDir('a')) >= 5);
    await hosts.crash('b');
    await hosts.until('a', 'needs-backup', BOOT_MS);
    await client.finish();
    const out = join(dir, 'joined');
    const state = dirname(hosts.stateDir('a'));
    const words = ['vm', '--side', 'backup', '--term', '2', '--out', out];
    const made = await collect(words, state);
    assert.equal(
      (made.terms as Array<Record<string, unknown>>).map(({ term }) => term),
      [2, 3],
    );
    const { retained } = openRecording(out);
    const begin = (retained ?? { from: POWER_ON.point }).from;
    assert.is(keyOf(begin), checkpointsOf(out)[0]);
    const { digests, packets } = await comparedFrom(out, begin);
    assert.ok(digests >= 3 && packets >= 50, `${digests} digests, ${packets} packets`);
    await replaysExactly(out, String(made.to_icount));
    await debugs(out, String(made.to_icount), dir);
  } finally {
    client?.kill();
    killDebugServers();
    await hosts.destroy();
    network.remove();
  }
});

history('a full disk: it is given up and said, and the pair goes on', async () => {
  const dir = scratch('history-full');
  const state = join(dir, 'state', 'pair-backup');
  mkdirSync(state, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=600m,mode=0700', 'tmpfs', state]);
  const pair = Pair.start(dir, await referenceGuest(), LINES, {
    env: { primary: ENV, backup: ENV },
  });
  let load: NumberedLoad | null = null;
  try {
    await pair.until('it serves', () => pair.console('primary').includes('listening'), BOOT_MS);
    load = new NumberedLoad(pair, 9, 4);
    await load.more(50);
    await pair.until('the backup gives up', async () => {
      const { bavail, bsize } = statfsSync(state);
      const room = bavail * bsize - RESERVE_BYTES / 2;
      if (room > 0) appendFileSync(join(state, 'filler'), Buffer.alloc(Math.min(room, CHUNK), 1));
      return (await pair.status('backup'))?.history === 'given-up';
    });
    assert.match(String((await pair.status('backup'))?.history_error), /No space left/);
    assert.is(kept(state), 0, 'the log has the space');
    await load.more(100);
    await load.finish();
    assert.is((await pair.status('primary'))?.state, 'protected');
    assert.is((await pair.status('primary'))?.history, 'on');
    assert.is((await pair.status('backup'))?.state, 'standby');
    assert.is((await pair.status('backup'))?.segment_error, null);
  } finally {
    load?.end();
    await pair.end();
    execFileSync('umount', ['-l', state]);
  }
});

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const untilMs = Date.now() + KEPT_MS; !holds(); ) {
    if (Date.now() > untilMs) throw new Error(`${what}: not within ${KEPT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

history.run();
