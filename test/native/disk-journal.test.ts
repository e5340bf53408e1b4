// SPDX-License-Identifier: Apache-2.0
/**
 * A backup's disk journal: wherever its process dies the disks are at an epoch afterwards, and a
 * journal that is damaged anywhere is refused or dropped.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { redoDisks } from '../../native/kvm-exit-log/index.ts';
import { openJournal } from '../../native/kvm-exit-log/testing.ts';
import { UnderstudyError } from '../../src/base/errors.ts';
import { parseConfig } from '../../src/vm/config.ts';
import { claimDisks, journalOf, markIncomplete } from '../../src/vm/disk.ts';
import { settleDisks } from '../../src/vm/disk-journal.ts';
import { DISK_BYTES, DiskSteps, type Step, stepsOf } from '../lib/disk-steps.ts';
import { ofAnotherBoot } from '../lib/journal-bytes.ts';

const journals = suite('disk journal');
const EPOCHS = 3;
const START = 1024;

function newDisks(): string[] {
  const dir = tempDir('disk-journal');
  return ['a.raw', 'b.raw'].map((name) => {
    const path = join(dir, name);
    writeFileSync(path, Buffer.alloc(DISK_BYTES, 0xd1));
    return path;
  });
}

const read = (disks: readonly string[]): Buffer[] => disks.map((path) => readFileSync(path));

function isAt(disks: readonly string[], epoch: number, why: string): void {
  const model = new DiskSteps().model(epoch);
  for (const [i, path] of disks.entries()) {
    assert.ok(readFileSync(path).equals(model[i] ?? Buffer.alloc(0)), `${why}: ${path}, ${epoch}`);
  }
}

/** The epoch that the disks have to be at when a process died before a step. */
function epochBefore(steps: readonly Step[], count: number): number {
  let epoch = 0;
  for (const step of steps.slice(0, count)) if (step.kind === 'prepare') epoch = step.epoch;
  return epoch;
}

/** Disks and journal as a process leaves them that dies before this step. */
function diedBefore(count: number, durable: boolean): string[] {
  const disks = newDisks();
  const journal = openJournal(disks, durable);
  const all = new DiskSteps();
  for (const step of stepsOf(EPOCHS).slice(0, count)) all.play(journal, step);
  return disks;
}

for (const durable of [false, true]) {
  const word = durable ? 'durable' : 'memory';

  journals(`(${word}) a process that dies between any two steps leaves an epoch`, () => {
    const steps = stepsOf(EPOCHS);
    for (let count = 0; count <= steps.length; count++) {
      const disks = diedBefore(count, durable);
      assert.ok(redoDisks(disks) !== null);
      isAt(disks, epochBefore(steps, count), `before step ${count}`);
      assert.is(redoDisks(disks), null, 'once');
      for (const path of disks) assert.not.ok(existsSync(journalOf(path)));
    }
  });

  journals(`(${word}) a redo that is cut short is done again`, () => {
    const count = 4;
    const disks = diedBefore(count, durable);
    const copies = disks.map((path) => `${journalOf(path)}.kept`);
    for (const [i, path] of disks.entries()) copyFileSync(journalOf(path), copies[i] ?? '');
    redoDisks(disks);
    for (const [i, path] of disks.entries()) copyFileSync(copies[i] ?? '', journalOf(path));
    assert.is(redoDisks(disks)?.last, 1);
    isAt(disks, 1, 'twice');
  });

  journals(`(${word}) one that is damaged at any byte is refused, and nothing is written`, () => {
    // Within the second epoch.
    const count = stepsOf(1).length + 3;
    const disks = diedBefore(count, durable);
    const path = journalOf(disks[0] ?? '');
    const whole = readFileSync(path);
    const before = read(disks);
    for (let at = 0; at < whole.length; at++) {
      const bad = Buffer.from(whole);
      bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
      writeFileSync(path, bad);
      assert.throws(() => redoDisks(disks), /damaged|version|first disk/, `byte ${at}`);
      assert.equal(read(disks), before);
    }
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      assert.throws(() => redoDisks(disks), /damaged|first disk/, `${length} bytes`);
      assert.equal(read(disks), before);
    }
    writeFileSync(path, whole);
    assert.ok(redoDisks(disks) !== null);
    isAt(disks, 2, 'as it was');
  });

  journals(`(${word}) an epoch that is not whole is dropped, whatever there is of it`, () => {
    // The second one is prepared, and not begun.
    const count = stepsOf(1).length + 1;
    const first = diedBefore(stepsOf(1).length, durable);
    const from = durable ? statSync(journalOf(first[0] ?? '')).size : START;
    const disks = diedBefore(count, durable);
    const path = journalOf(disks[0] ?? '');
    const whole = readFileSync(path);
    const marks = disks.slice(1).map((disk) => [journalOf(disk), readFileSync(journalOf(disk))]);
    const dropped = (bytes: Buffer, why: string): void => {
      writeFileSync(path, bytes);
      for (const [mark, text] of marks) writeFileSync(String(mark), text ?? '');
      assert.ok(redoDisks(disks) !== null);
      isAt(disks, 1, why);
    };
    for (let length = from; length < whole.length; length++) {
      dropped(whole.subarray(0, length), `${length} bytes`);
    }
    for (let at = from; at < whole.length; at++) {
      const bad = Buffer.from(whole);
      bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
      dropped(bad, `byte ${at}`);
    }
  });
}

journals('a process that is killed leaves an epoch', () => {
  const steps = stepsOf(2);
  const script = join(import.meta.dirname, '../lib/disk-steps-killed.ts');
  for (let count = stepsOf(1).length; count <= steps.length; count += 2) {
    const disks = newDisks();
    const { signal, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', script, String(count), ...disks],
      { encoding: 'utf8' },
    );
    assert.is(signal, 'SIGKILL', stderr);
    assert.ok(redoDisks(disks) !== null);
    isAt(disks, epochBefore(steps, count), `before step ${count}`);
  }
});

journals('one who leaves or closes takes the journal along, and a later one stays', () => {
  for (const how of ['leave', 'close'] as const) {
    const disks = newDisks();
    const journal = openJournal(disks, true);
    const later = how === 'close' ? openJournal(disks, false) : null;
    journal[how]();
    for (const path of disks) assert.is(existsSync(journalOf(path)), later !== null, how);
    later?.close();
    for (const path of disks) assert.not.ok(existsSync(journalOf(path)));
  }
});

journals('one whose epoch is half on the disks stays when its process ends well', () => {
  const disks = newDisks();
  const journal = openJournal(disks, false);
  const all = new DiskSteps();
  for (const step of stepsOf(1).slice(0, 3)) all.play(journal, step);
  journal.close();
  assert.is(redoDisks(disks)?.last, 1);
  isAt(disks, 1, 'after it');
});

journals('of other images it is refused: replaced, another size, another order, alone', () => {
  const refused = (change: (disks: string[]) => readonly string[], expected: RegExp): void => {
    const disks = diedBefore(4, false);
    const given = change(disks);
    const before = read(given);
    assert.throws(() => redoDisks(given), expected);
    assert.equal(read(given), before);
  };
  refused((disks) => {
    const [a = ''] = disks;
    copyFileSync(a, `${a}.copy`);
    renameSync(`${a}.copy`, a);
    return disks;
  }, /another file/);
  refused((disks) => {
    truncateSync(disks[1] ?? '', DISK_BYTES / 2);
    return disks;
  }, /another file/);
  refused((disks) => disks.slice(0, 1), /of 2 disks/);
  refused((disks) => disks.slice(1), /first disk/);
  refused((disks) => [...disks].reverse(), /first disk/);
  refused((disks) => {
    renameSync(journalOf(disks[0] ?? ''), join(tempDir('elsewhere'), 'journal'));
    return disks;
  }, /there is no .*a\.raw\.journal/);
  refused((disks) => {
    writeFileSync(journalOf(disks[1] ?? ''), 'of another\n');
    return disks;
  }, /mark of another journal/);
});

journals('of a host that went down it is good only if it was synced', () => {
  for (const durable of [false, true]) {
    const disks = diedBefore(4, durable);
    const path = journalOf(disks[0] ?? '');
    const before = read(disks);
    writeFileSync(path, ofAnotherBoot(readFileSync(path)));
    if (durable) {
      assert.is(redoDisks(disks)?.last, 1);
      isAt(disks, 1, 'after it');
    } else {
      assert.throws(() => redoDisks(disks), /the host went down before the disks were synced/);
      assert.equal(read(disks), before);
    }
  }
});

journals('a disk without room is named, and the journal is as before', () => {
  const dir = tempDir('journal-full');
  const script = join(import.meta.dirname, '../lib/disk-steps-full.ts');
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['-m', process.execPath, '--import', 'tsx', script, dir],
    { encoding: 'utf8' },
  );
  assert.is(status, 0, stderr);
  assert.match(stdout, /ENOSPC .*a\.raw\.journal/);
});

const configOf = (disks: readonly string[]) =>
  parseConfig(
    `name = "a"\n${disks.map((path) => `[[disk]]\nimage = ${JSON.stringify(path)}`).join('\n')}`,
    join(tempDir('disk-journal-vm'), 'VM.toml'),
  );

journals('who starts from the disks is told what was done', () => {
  const disks = diedBefore(stepsOf(1).length + 1, true);
  const said: string[] = [];
  const say = (event: string, text: string) => void said.push(`${event}: ${text}`);
  settleDisks(configOf(disks), say, 'refuses');
  assert.match(said.join(), /^disk-journal: the disks are at epoch 2 again, by .*a\.raw\.journal$/);
  settleDisks(configOf(disks), say, 'refuses');
  assert.is(said.length, 1);
});

journals('a journal of no use is refused by name, or its images wait for a join', () => {
  const disks = diedBefore(4, true);
  truncateSync(journalOf(disks[0] ?? ''), START);
  const before = read(disks);
  const said: string[] = [];
  const say = (event: string, text: string) => void said.push(`${event}: ${text}`);
  try {
    settleDisks(configOf(disks), say, 'refuses');
    assert.unreachable('it was accepted');
  } catch (error) {
    assert.instance(error, UnderstudyError);
    assert.is((error as UnderstudyError).code, 'image-journal');
    assert.match((error as Error).message, /a\.raw\.journal cannot be used: its body is damaged/);
  }
  assert.equal(said, []);
  settleDisks(configOf(disks), say, 'joins');
  assert.match(said.join(), /its body is damaged; a join has to complete the disks/);
  assert.throws(() => claimDisks(configOf(disks)), /half of one moment/);
  for (const path of disks) assert.not.ok(existsSync(journalOf(path)));
  assert.equal(read(disks), before);
});

journals('a join that begins to overwrite an image ends its journal', () => {
  const disks = diedBefore(4, false);
  for (const path of disks) markIncomplete(path);
  for (const path of disks) assert.not.ok(existsSync(journalOf(path)));
});

journals.run();
