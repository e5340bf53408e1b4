// SPDX-License-Identifier: Apache-2.0
/**
 * The daemon of a backup by epochs is killed while it writes one to its disk, under load: when
 * it starts again its disk is at an epoch, and the guest's file system there is whole.
 *
 *   SEED=N npm test crash/disk-journal
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { randomFrom } from '../../src/lab/frames.ts';
import { scratch, start } from '../lib/command.ts';
import { fileSystemIsWhole } from '../lib/file-system.ts';
import { killWithGdb, type Stop } from '../lib/gdb.ts';
import { redoneBy } from '../lib/journal-bytes.ts';
import { NumberedLoad } from '../lib/numbered-load.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

/** Nobody is declared dead for being stopped by a debugger. */
const PATIENT = ['heartbeat_ms = 10000', 'heartbeat_missed = 100', 'stuck_ms_max = 3600000'];
const WINDOW = 4;
const ANSWERS = 20;
const PASSAGES_MAX = 20;

const BEGIN: Stop = { at: 'exitlog::DiskJournal::begin' };
const WRITE: Stop = { at: 'exitlog::DiskFiles::write' };
const PLACES: readonly { readonly where: string; readonly stops: readonly Stop[] }[] = [
  { where: 'an epoch is in the journal and not begun', stops: [BEGIN] },
  { where: 'an epoch is begun, none of it is on the disk', stops: [BEGIN, WRITE] },
  { where: 'one write of an epoch is on the disk', stops: [BEGIN, { ...WRITE, finish: true }] },
  { where: 'an epoch is on the disk and not ended', stops: [{ at: 'exitlog::DiskJournal::end' }] },
];

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const random = randomFrom(seed);
const root = scratch('disk-journal');
const crash = suite('a backup dies within an epoch of its disk');

PLACES.forEach(({ where, stops }, index) => {
  const durability = index % 2 === 0 ? 'memory' : 'disk';
  const passage = 1 + Math.floor(random() * PASSAGES_MAX);
  crash(`${where} (${durability})`, async () => {
    console.log(`SEED=${seed}, passage ${passage}`);
    const dir = join(root, String(index));
    mkdirSync(dir);
    const guest = await referenceGuest();
    const lines = ['protocol = "remus"', `durability = "${durability}"`, ...PATIENT];
    const pair = Pair.start(dir, guest, lines);
    const load = await loaded(pair);
    try {
      const image = join(dir, 'backup', 'disk.raw');
      const status = await pair.status('backup');
      await killWithGdb({
        pid: Number(status?.pid),
        stops,
        passage,
        library: 'kvm_exit_log',
        before: 'true',
        script: join(dir, 'kill.gdb'),
        timeoutMs: 60_000,
      });
      assert.is((await pair.ended('backup')).signal, 'SIGKILL');
      await load.more(ANSWERS);
      load.end();
      pair.signal('primary', 'SIGKILL');
      await pair.ended('primary');

      const expected = redoneBy(readFileSync(`${image}.journal`), readFileSync(image));
      const killed = join(dir, 'as-killed.raw');
      copyFileSync(image, killed);
      const said = await startedAgain(dir, pair, image);
      assert.match(said, /disk-journal: the disks are at epoch \d+ again, by .*disk\.raw\.journal/);
      const now = readFileSync(image);
      assert.ok(now.equals(expected), 'what the journal says is on the disk');
      fileSystemIsWhole(dir, image);
      const same = now.equals(readFileSync(killed));
      console.log(`${where}: the disk ${same ? 'was at this epoch already' : 'was between two'}`);
    } finally {
      load.end();
      await pair.end();
    }
  });
});

crash.run();

async function loaded(pair: Pair): Promise<NumberedLoad> {
  try {
    const listens = () => pair.console('primary').includes('listening');
    await pair.until('the service listens', listens, 120_000);
    const load = new NumberedLoad(pair, seed, WINDOW);
    await load.more(ANSWERS);
    return load;
  } catch (error) {
    await pair.end();
    throw error;
  }
}

/** The backup's daemon, until it has dealt with its disk. @returns what it said */
async function startedAgain(dir: string, pair: Pair, image: string): Promise<string> {
  const again = start(['backup', join(dir, 'backup', 'VM.toml')], {
    prefix: ['ip', 'netns', 'exec', pair.netns],
    env: { UNDERSTUDY_STATE_DIR: join(dir, 'state') },
  });
  let said = '';
  again.child.stderr?.on('data', (text: Buffer | string) => {
    said += String(text);
  });
  again.child.stdout?.on('data', (text: Buffer | string) => {
    said += String(text);
  });
  try {
    await pair.until(`the journal is gone (${said})`, () => !existsSync(`${image}.journal`));
    await pair.until(`it says so: ${said}`, () => /disk-journal/.test(said), 10_000);
  } finally {
    again.child.kill('SIGKILL');
    await again.done;
  }
  return said;
}
