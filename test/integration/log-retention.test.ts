// SPDX-License-Identifier: Apache-2.0
/**
 * What runs for ever stays bounded on disk: the logs of a protected pair that takes in
 * far more than they may hold, and a recording, which replays exactly from where it begins.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { comparePoints, nameOf, POWER_ON } from '../../src/base/position.ts';
import { findStart } from '../../src/checkpoint/start.ts';
import { requestFrame } from '../../src/lab/frames.ts';
import { LogEndFinder } from '../../src/log/log-end.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { openRecording } from '../../src/recording/folder.ts';
import { checkpointsOf, verifyFromCheckpoints } from '../lib/checkpoints.ts';
import { run, runJson, scratch } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { recordAndReplay, referenceGuest, WORKLOADS } from '../lib/workloads.ts';

const retention = suite('the log of a pair on disk');
const LOG_MIB_MAX = 8;
const SENT_BYTES = 40 * 2 ** 20;
const SIDES = ['primary', 'backup'] as const;

/** Datagrams that nobody takes: each is in the log whole. argv: address, bytes. */
const SPRAY =
  "const s=require('dgram').createSocket('udp4'),d=Buffer.alloc(1400);let left=+process.argv[2];" +
  'const go=()=>{for(let i=0;i<20;i++,left-=1400)s.send(d,9,process.argv[1]);' +
  'left>0?setTimeout(go,2):s.close()};go()';

function logBytes(dir: string): number {
  return readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
}

function logDir(pair: Pair, side: (typeof SIDES)[number]): string {
  const logs = join(pair.stateDir(side), 'log');
  return join(logs, readdirSync(logs)[0] ?? '');
}

retention('stays within log_mib_max on both sides, while the pair goes on', async () => {
  const pair = Pair.start(scratch('retention'), await referenceGuest(), [
    `log_mib_max = ${LOG_MIB_MAX}`,
  ]);
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    const spray = pair.client(SPRAY, String(SENT_BYTES));
    await new Promise((resolve) => spray.once('exit', resolve));
    await pair.until('all of it is logged', async () => {
      const status = await pair.status('primary');
      return Number(status?.log_bytes_total) > SENT_BYTES / 2;
    });
    const client = pair.connect(7);
    await pair.until('it connects', () => client.connected);
    client.send(requestFrame(1, 0));
    await pair.until('it is served', () => client.received.equals(requestFrame(1, 0)));
    for (const side of SIDES) {
      // A segment may begin while one looks, and old ones go once a second.
      await pair.until(
        `the ${side}'s log is small`,
        () => logBytes(logDir(pair, side)) <= (LOG_MIB_MAX + 1) * 2 ** 20,
        5000,
      );
      const { json } = await runJson(['inspect', logDir(pair, side)]);
      assert.ok(Number(json.first_segment) > 1, `from segment ${json.first_segment}`);
      // The end of a log that is being written may be half a batch; nothing else.
      const newest = readdirSync(logDir(pair, side)).sort().at(-1) ?? '';
      const damage = json.damage as Array<{ readonly file: string; readonly reason: string }>;
      assert.ok(damage.length <= 1, JSON.stringify(damage));
      for (const { file, reason } of damage) {
        assert.ok(file.endsWith(newest), file);
        assert.match(reason, /cut short/);
      }
      assert.ok(Number(json.log_bytes) > 4 * 2 ** 20, `${json.log_bytes} bytes of it are left`);
    }
    assert.is((await pair.status('primary'))?.state, 'protected');
    assert.is((await pair.status('backup'))?.state, 'standby');
  } finally {
    await pair.end();
  }
});

retention('--retain: a recording keeps the newest, and replays exactly from there', async () => {
  const netperf = WORKLOADS.find(({ name }) => name === 'netperf');
  assert.ok(netperf !== undefined);
  let dir = '';
  let recording = '';
  const nothing = { from_icount: '', from_segment: 0 };
  let retained = nothing;
  // A slow host needs longer for more than it keeps: checkpoints, and files of the log.
  for (const netperfS of [1, 4, 12]) {
    dir = scratch('retain');
    const result = await recordAndReplay(netperf, {
      dir,
      guest: await referenceGuest(),
      seed: 1,
      netperfS,
      checkpointEvery: '150ms',
      retain: '8,400M',
    });
    assert.is(result.skipped, undefined, 'run it as root');
    assert.ok(result.ok, result.failure); // replayed with --verify from where it begins
    recording = join(dir, 'recording');
    const file = join(recording, 'retained.json');
    retained = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : nothing;
    if (retained.from_segment > 1 && checkpointsOf(recording).length > 6) break;
  }
  const left = checkpointsOf(recording);
  assert.is(left[0], String(retained.from_icount));
  assert.ok(left.length <= 10, `${left.length} checkpoints`);
  assert.ok(retained.from_segment > 1, 'log was deleted, too');
  const { json } = await runJson(['inspect', recording]);
  assert.equal(json.damage, []);
  assert.is(json.first_segment, retained.from_segment);
  for (const { icount, failure } of await verifyFromCheckpoints(recording, 2)) {
    assert.is(failure, null, `from ${icount}: ${failure}`);
  }
  const listed = await runJson(['ls', recording], {
    env: { UNDERSTUDY_CATALOG_DIR: join(dir, 'catalog') },
  });
  const [run0] = listed.json.recordings as Array<{ readonly state: string }>;
  assert.is(run0?.state, 'complete');
  const words = ['replay', recording];
  const before = await run([...words, '--from', String(BigInt(retained.from_icount) - 1n)]);
  assert.is(before.code, 2);
  assert.match(before.stderr, /begins at icount/);
  assert.is((await run([...words, '--bisect', '--against-qemu', '/bin/true'])).code, 2);
  assert.is((await run(['diff', recording, recording])).code, 2);
  await isBisected(recording);
  const packed = join(dir, 'one.udpack');
  assert.is((await run(['pack', recording, '--out', packed])).code, 0);
  const unpacked = join(dir, 'unpacked');
  assert.is((await run(['unpack', packed, '--out', unpacked])).code, 0);
  assert.is((await run(['replay', unpacked, '--verify'])).code, 0);
  await killedAtEachStep(recording, dir);
  rmSync(join(recording, 'checkpoints', left[0] ?? ''), { recursive: true });
  const lost = await run([...words, '--until', String(BigInt(left[1] ?? 0) - 1n)]);
  assert.is(lost.code, 11, lost.stderr);
});

/** A bit that flips late in it is found, from what is left. */
async function isBisected(recording: string): Promise<void> {
  const end = JSON.parse(readFileSync(join(recording, 'end.json'), 'utf8')) as { icount: number };
  const newest = Number(checkpointsOf(recording).at(-1));
  const at = newest + Math.floor((end.icount - newest) / 2);
  const { code, json, stderr } = await runJson(['replay', recording, '--bisect'], {
    env: { UNDERSTUDY_FAULT: `flip:${at}:${0x2000000}:5` },
    timeoutMs: 300_000,
  });
  assert.is(code, 10, stderr);
  assert.is(json.found, 'position', JSON.stringify(json));
  const { icount } = json.different as { icount: number };
  assert.ok(icount >= at && icount <= at + 2, `${icount} is not ${at}`);
}

/** A recorder that is killed in the middle of deleting leaves a recording all the same. */
async function killedAtEachStep(recording: string, dir: string): Promise<void> {
  const copy = join(dir, 'copy');
  const begin = openRecording(recording).retained?.from ?? POWER_ON.point;
  for (let step = 1, killed = true; killed; step += step < 6 ? 1 : 4) {
    rmSync(copy, { recursive: true, force: true });
    execFileSync('cp', ['-r', '--sparse=always', recording, copy]);
    const program = fileURLToPath(new URL('../lib/trim-killed.ts', import.meta.url));
    const words = ['--import', 'tsx', program, copy, '2', String(step)];
    const ended = spawnSync(process.execPath, words, { encoding: 'utf8' });
    killed = ended.signal === 'SIGKILL';
    assert.ok(killed || ended.status === 0, `step ${step}: ${ended.stderr}`);
    assert.ok(killed || step > 6, 'it had something to delete');
    const left = openRecording(copy);
    const from = left.retained?.from ?? POWER_ON.point;
    const order = comparePoints(from, begin);
    assert.ok(step <= 2 ? order === 0 : order > 0, `step ${step}: from ${nameOf(from)}`);
    const warned: string[] = [];
    const start = await findStart(left, from, (text) => warned.push(text));
    assert.is(start?.point, from, `step ${step}: ${warned}`);
    const ends = new LogEndFinder();
    const fromIndex = start?.entrance.segment ?? 1;
    for await (const { batch } of new LogReader(left.paths.log, { fromIndex })) ends.see(batch);
    assert.is(ends.end()?.digest, left.end?.digest, `step ${step}`);
    if (step !== 5) continue;
    assert.is((await run(['replay', copy, '--verify'])).code, 0, `step ${step}`);
  }
}

retention.run();
