// SPDX-License-Identifier: Apache-2.0
/**
 * Divergences made on purpose: each is caught, and bisected to its position.
 *
 *   SEED=N npm test integration/divergence
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../src/lab/random.ts';
import { bootSectorVm } from '../lib/boot-sector.ts';
import { checkpointsOf } from '../lib/checkpoints.ts';
import { run, runJson, scratch, start } from '../lib/command.ts';
import { freePort } from '../lib/free-port.ts';
import { PATIENT } from '../lib/patience.ts';

interface At {
  readonly icount: number;
}

interface Row {
  readonly address: number;
  readonly expected: string;
  readonly actual: string;
}

interface Bisected {
  readonly found: string;
  readonly equal: At;
  readonly different: At | null;
  readonly noticed: { readonly reason: string } | null;
  readonly started_at: number | null;
  readonly differences: {
    readonly registers: readonly string[];
    readonly sections: ReadonlyArray<{ readonly section: string }>;
    readonly pages_different: number;
    readonly pages: ReadonlyArray<{ readonly gpa: number; readonly rows: readonly Row[] }>;
  } | null;
  readonly records: ReadonlyArray<{ readonly ordinal: number; readonly icount: number }>;
}

interface Divergence {
  readonly code: string;
  readonly reason: string;
  readonly icount: number;
  readonly last_equal_digest: At | null;
  readonly parts: ReadonlyArray<{
    readonly part: string;
    readonly expected: string;
    readonly actual: string;
  }>;
}

const EVERY = 1_000_000;
/** The firmware is done. */
const BOOTED = 5_600_000;
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const again = `again with SEED=${seed} npm test integration/divergence`;
const random = new Random(seed);
const dir = scratch('divergence');
const vm = bootSectorVm(join(dir, 'vm'), 15_000_000);
const recording = join(dir, 'recording');
await record(recording);
const typed = await typedRecords();
const end = (JSON.parse(readFileSync(join(recording, 'end.json'), 'utf8')) as At).icount;
/** Where the guest computes: after the firmware, before it switches itself off. */
const begin = typed[0]?.icount ?? 0;

async function record(out: string, file = vm, more: readonly string[] = []): Promise<void> {
  const running = start(['record', file, '--out', out, '--digest-every', '1M', ...more]);
  await running.printed('ready');
  let ended = false;
  const done = running.done.finally(() => {
    ended = true;
  });
  // All the time: on a busy host the firmware takes as long as it takes.
  const typist = new Random(seed + 1);
  while (!ended) {
    running.child.stdin?.write(String.fromCharCode(65 + typist.below(26)));
    await sleep(1 + typist.below(12));
  }
  const { code, stderr } = await done;
  assert.is(code, 0, stderr);
}

/**
 * The inputs that interrupt the guest in its loop: not those that find the UART
 * full or the interrupt's handler still running, which a little later are the same.
 */
async function typedRecords(): Promise<Array<{ ordinal: number; icount: number }>> {
  const { json } = await runJson(['inspect', recording, '--kind', 'char_in']);
  const list = json.list as Array<{ ordinal: number; icount: number }>;
  const apart = list.filter(({ icount }, index) => icount > (list[index - 1]?.icount ?? 0) + 1000);
  return apart.filter(({ icount }) => icount > BOOTED);
}

/** Replays with a fault: it must be noticed, at the next digest or before. */
async function noticed(fault: string): Promise<Divergence> {
  const { code, json, stderr } = await runJson(['replay', recording], {
    env: { UNDERSTUDY_FAULT: fault },
  });
  assert.is(code, 10, `${fault} was not noticed; ${again}\n${stderr}`);
  return json.error as Divergence;
}

async function bisected(
  fault: string,
  flags: readonly string[] = [],
  of = recording,
): Promise<Bisected> {
  const { code, json, stderr } = await runJson(['replay', of, '--bisect', ...flags], {
    env: fault === '' ? {} : { UNDERSTUDY_FAULT: fault },
  });
  assert.is(code, 10, `${fault}; ${again}\n${stderr}`);
  const result = json as unknown as Bisected;
  assert.is(result.found, 'position', `${fault}; ${again}\n${JSON.stringify(json)}`);
  return result;
}

/** The next digest after a position. */
const nextDigest = (icount: number): number => Math.ceil((icount + 1) / EVERY) * EVERY;

const faults = suite('divergences made on purpose');

faults('without one there is none, and the digests are in the log', async () => {
  const list = await runJson(['inspect', recording, '--kind', 'digest']);
  const digests = list.json.list as At[];
  assert.ok(digests.length > 80, `${digests.length} digests`);
  for (const { icount } of digests.slice(0, -1)) assert.ok(icount % EVERY < 100, String(icount));
  const { code, json } = await runJson(['replay', recording, '--verify']);
  assert.is(code, 0);
  assert.is(json.verified, true);
  const { code: same, json: none } = await runJson(['replay', recording, '--bisect']);
  assert.is(same, 0, again);
  assert.is(none.found, 'none');
});

for (let n = 0; n < 2; n += 1) {
  faults(`one flipped bit in memory that nobody uses, ${n}`, async () => {
    const at = begin + random.below(end - begin - EVERY);
    const gpa = 0x200000 + random.below(0x1000000);
    const bit = random.below(8);
    const fault = `flip:${at}:${gpa}:${bit}`;
    const error = await noticed(fault);
    assert.is(error.code, 'divergence');
    assert.equal(
      error.parts.map(({ part }) => part),
      ['ram'],
    );
    assert.is.not(error.parts[0]?.expected, error.parts[0]?.actual);
    assert.ok((error.last_equal_digest?.icount ?? 0) <= at, again);
    assert.ok(error.icount < nextDigest(at) + 100, `${error.icount} is late; ${again}`);
    const { different, differences } = await bisected(fault);
    assert.ok(near(different, at), `${different?.icount} is not ${at}; ${again}`);
    assert.is(differences?.pages_different, 1, again);
    const row = differences?.pages[0]?.rows[0];
    assert.is(row?.address, gpa - (gpa % 16), again);
    const byte = (hex = ''): number => Number.parseInt(hex.substr((gpa % 16) * 2, 2), 16);
    assert.is(byte(row?.expected) ^ byte(row?.actual), 1 << bit, again);
  });
}

/** An exact position, or the next one at which no interrupt was just delivered. */
function near(at: At | null, wanted: number): boolean {
  return at !== null && at.icount >= wanted && at.icount <= wanted + 2;
}

faults('one flipped bit in the code that runs', async () => {
  // In the constant that each round adds.
  const code = readFileSync(join(dir, 'vm', 'disk.raw'));
  const constant = Buffer.alloc(4);
  constant.writeUInt32LE(1_013_904_223);
  const at = begin + random.below(end - begin - EVERY);
  const fault = `flip:${at}:${0x7c00 + code.indexOf(constant)}:${random.below(8)}`;
  const error = await noticed(fault);
  assert.equal(error.parts.map(({ part }) => part).slice(0, 2), ['cpu', 'ram'], again);
  const { different, differences } = await bisected(fault);
  assert.ok(near(different, at), `${different?.icount} is not ${at}; ${again}`);
  assert.is(differences?.pages[0]?.gpa, 0x7000, again);
});

for (let n = 0; n < 2; n += 1) {
  faults(`one skipped record, ${n}`, async () => {
    const record = typed[random.below(typed.length - 1)];
    if (record === undefined) throw new Error('nothing was typed');
    const fault = `skip:${record.ordinal}`;
    const error = await noticed(fault);
    assert.ok(error.icount < nextDigest(record.icount) + 100, `${error.icount} is late; ${again}`);
    const { equal, different, differences, records } = await bisected(fault);
    assert.ok(near(different, record.icount), `${different?.icount}: ${record.icount}; ${again}`);
    assert.ok(equal.icount <= record.icount, again);
    assert.ok(
      differences?.sections.some(({ section }) => section.includes('serial')),
      `the UART has no byte: ${JSON.stringify(differences?.sections)}; ${again}`,
    );
    assert.ok(records.some(({ ordinal }) => ordinal === record.ordinal));
  });

  faults(`one interrupt some instructions late, ${n}`, async () => {
    const record = typed[random.below(typed.length - 1)];
    if (record === undefined) throw new Error('nothing was typed');
    const fault = `late:${record.ordinal}:${1 + random.below(6)}`;
    const error = await noticed(fault);
    assert.ok(error.icount < nextDigest(record.icount) + 100, `${error.icount} is late; ${again}`);
    const { different } = await bisected(fault);
    assert.ok(near(different, record.icount), `${different?.icount}: ${record.icount}; ${again}`);
  });
}

faults('with checkpoints: not from power-on, to the same position', async () => {
  const marked = join(dir, 'marked');
  // Writing one takes as long as a disk needs for it: so that there are some.
  const longer = bootSectorVm(join(dir, 'longer'), 90_000_000);
  await record(marked, longer, ['--checkpoint-every', '10000000i']);
  const checkpoints = checkpointsOf(marked).map(Number);
  const last = checkpoints.at(-2) ?? 0;
  assert.ok(checkpoints.length >= 4, `${checkpoints.length} checkpoints`);
  const at = last + 3 * EVERY + random.below(4 * EVERY);
  const found = await bisected(`flip:${at}:${0x300000}:3`, [], marked);
  assert.ok(near(found.different, at), `${found.different?.icount} is not ${at}; ${again}`);
  assert.is(found.started_at, last, again);
  assert.is(found.differences?.pages[0]?.gpa, 0x300000, again);
  const { started_at } = await bisected(`flip:${begin + 1000}:${0x300000}:3`, [], marked);
  assert.ok(started_at === null || started_at <= begin, again);
});

faults('a QEMU that goes wrong is told from the one that recorded', async () => {
  const at = begin + random.below(end - begin - EVERY);
  const wrong = join(dir, 'wrong-qemu');
  const real = process.env.UNDERSTUDY_QEMU ?? String((await runJson(['doctor'])).json.qemu);
  writeFileSync(
    wrong,
    `#!/bin/bash\nexec ${real} "\${@/#mode=replay/fault=flip:${at}:0x300000:0,mode=replay}"\n`,
  );
  chmodSync(wrong, 0o755);
  const { different, differences, started_at } = await bisected('', ['--against-qemu', wrong]);
  assert.is(started_at, null);
  assert.ok(near(different, at), `${different?.icount} is not ${at}; ${again}`);
  assert.is(differences?.pages[0]?.gpa, 0x300000, again);
});

faults('a backup in lockstep notices it, leaves, and its primary goes on', async () => {
  const place = join(dir, 'pair');
  const port = await freePort();
  const replication = [
    '[replication]',
    `primary = "127.0.0.1:${port}"`,
    `arbiter = "dir:${join(place, 'arbiter')}"`,
    'digest_every = "1M"',
    PATIENT,
  ].join('\n');
  mkdirSync(join(place, 'arbiter'), { recursive: true });
  const [primary, backup] = ['primary', 'backup'].map((side) => {
    const file = bootSectorVm(join(place, side), 40_000_000, replication);
    const env = {
      UNDERSTUDY_STATE_DIR: join(place, 'state'),
      ...(side === 'backup' ? { UNDERSTUDY_FAULT: 'flip:20000000:0x300000:0' } : {}),
    };
    return start([side, file, '--json'], { env });
  });
  const wrong = await backup?.done;
  assert.is(wrong?.code, 10, wrong?.stderr);
  assert.match(wrong?.stderr ?? '', 'the replay diverged from the primary: digest of RAM differs');
  assert.match(wrong?.stderr ?? '', 'it was equal at    icount 20,000,000');
  const alone = await primary?.done;
  assert.is(alone?.code, 0, alone?.stderr);
  assert.match(alone?.stdout ?? '', 'the guest powered off');
});

faults('a recording is never wrong on purpose', async () => {
  const out = join(dir, 'refused');
  const env = { UNDERSTUDY_FAULT: 'flip:1:1:1' };
  const { code, stderr } = await run(['record', vm, '--out', out], { env });
  assert.is(code, 1);
  assert.match(stderr, 'only for mode=replay');
});

for (const [what, words] of [
  ['interrupt', 'an interrupt was raised'],
  ['memory', 'guest memory was written'],
] as const) {
  faults(`tripwire: ${words} by the main thread`, async () => {
    const out = join(dir, `trip-${what}`);
    const env = { UNDERSTUDY_FAULT: `offthread:${begin + 1000}:${what}` };
    const { code, stderr } = await run(['record', vm, '--out', out], { env });
    assert.is(code, 1, stderr);
    assert.match(stderr, `tripwire: ${words} by thread`);
    assert.match(stderr, /qemu-system-x86_64\(\+0x[0-9a-f]+\)/, 'a backtrace');
    assert.match(stderr, /SIGABRT: tripwire/);
    assert.match(stderr, /readable up to icount/);
  });
}

faults.run();
