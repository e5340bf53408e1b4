// SPDX-License-Identifier: Apache-2.0
/** What a daemon keeps of the past: how much, what goes, and that it is given up quietly. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { listCheckpoints } from '../../src/checkpoint/manifest.ts';
import { History } from '../../src/daemon/history.ts';
import { collect } from '../../src/recording/collect.ts';
import { lockIfPossible } from '../../src/recording/lock.ts';
import { checkpointsOf, keptLogs, logName, pastFile } from '../../src/recording/past.ts';
import { historyNumbers } from '../../src/retain/history-numbers.ts';
import { CheckpointTrimmer, type Hold } from '../../src/retain/kept-checkpoints.ts';
import type { RetainLimits } from '../../src/retain/limits.ts';
import { parseConfig } from '../../src/vm/config.ts';
import { parseHistory } from '../../src/vm/history-span.ts';
import { writeCheckpoint } from '../lib/written-checkpoint.ts';

const spans = suite('history = "…"');

spans('a time, or off', () => {
  assert.is(parseHistory('off'), 0);
  assert.is(parseHistory('10m'), 600_000);
  assert.is(parseHistory('90s'), 90_000);
  assert.is(parseHistory('2h'), 7_200_000);
  assert.is(parseHistory('7d'), 604_800_000);
});

spans('what is none, or too short, or too long', () => {
  for (const text of ['', 'on', '10', '10 m', '-10m', '1.5h', '59s', '8d', '0m', '010m', '10M']) {
    assert.is(parseHistory(text), null, text);
  }
});

spans('chains are short against it, and a full one comes once a minute at most', () => {
  assert.equal(historyNumbers(600_000), { everyInstructions: 0, everyMs: 10_000, chainMax: 14 });
  assert.is(historyNumbers(60_000).chainMax, 5);
  assert.is(historyNumbers(86_400_000).chainMax, 30);
});

spans.run();

interface Place {
  dir: string;
}

const trims = suite<Place>('checkpoints of the past');

trims.before.each((context) => {
  context.dir = mkdtempSync(join(tmpdir(), 'understudy-history-'));
});
trims.after.each(({ dir }) => rmSync(dir, { recursive: true, force: true }));

/** Chains of three, a minute each, the newest now. */
function writeChains(dir: string, count: number): void {
  for (let chain = 0; chain < count; chain += 1) {
    for (let n = 0; n < 3; n += 1) {
      const icount = 1000 * (chain + 1) + n;
      const createdMs = Date.now() - (count - chain) * 60_000;
      writeCheckpoint(dir, { icount, parent: n === 0 ? null : icount - 1, createdMs });
    }
  }
}

const LIMITS = { count: null, ageMs: 150_000, bytes: null };
const free: Hold = () => ({ release() {} });

/** What it warns of. */
async function trim(dir: string, limits: RetainLimits, hold = free): Promise<string[]> {
  const warnings: string[] = [];
  const trimmer = new CheckpointTrimmer(dir, hold, limits, (text) => warnings.push(text));
  await trimmer.look();
  trimmer.stop();
  return warnings;
}

trims('old chains go as a whole, the newest stays', async ({ dir }) => {
  writeChains(dir, 6);
  assert.equal(await trim(dir, LIMITS), []);
  // The one of three minutes ago is needed to go back two and a half.
  assert.equal(listCheckpoints(dir).slice(0, 3), [4000n, 4001n, 4002n]);
  assert.equal(await trim(dir, { ...LIMITS, ageMs: 1 }), []);
  assert.equal(listCheckpoints(dir), [6000n, 6001n, 6002n]);
});

trims('they stay within a size', async ({ dir }) => {
  writeChains(dir, 6);
  const each = 3 * 4 * 4096; // two files, the manifest, the folder
  await trim(dir, { count: null, ageMs: 86_400_000, bytes: 2.5 * each });
  assert.is(listCheckpoints(dir).length, 6, 'two chains');
});

trims('nothing goes while somebody collects', async ({ dir }) => {
  writeChains(dir, 6);
  assert.equal(await trim(dir, LIMITS, () => null), []);
  assert.is(listCheckpoints(dir).length, 18);
});

trims('nothing goes before the next one that is whole', async ({ dir }) => {
  writeChains(dir, 6);
  writeFileSync(join(dir, '4000', 'ram'), 'something else');
  const warnings = await trim(dir, LIMITS);
  assert.match(warnings.join(), /icount 4000 is not usable.*ram does not have its checksum/);
  assert.equal(listCheckpoints(dir).slice(0, 3), [5000n, 5001n, 5002n]);
  for (const icount of ['5000', '6000']) writeFileSync(join(dir, icount, 'ram'), 'damaged');
  await trim(dir, { ...LIMITS, ageMs: 1 });
  assert.is(listCheckpoints(dir).length, 6);
});

trims.run();

interface Kept extends Place {
  state: string;
  events: string[];
  history: History;
}

const keeping = suite<Kept>('a daemon that keeps its past');
const VM_ID = '00112233445566778899aabbccddeeff';
const START = { vmId: VM_ID, term: 1, rtcBase: '2026-11-26T00:00:00', from: null };

keeping.before.each((context) => {
  const dir = mkdtempSync(join(tmpdir(), 'understudy-history-'));
  context.dir = dir;
  context.state = join(dir, 'state');
  context.events = [];
  writeFileSync(join(dir, 'kernel'), 'a kernel');
  writeFileSync(join(dir, 'disk.raw'), Buffer.alloc(65_536, 'as at power-on'));
  const config = parseConfig(
    'name = "vm"\nkernel = "kernel"\n[[disk]]\nimage = "disk.raw"',
    join(dir, 'VM.toml'),
  );
  const firmwareDir = join(dir, 'firmware');
  mkdirSync(firmwareDir);
  writeFileSync(join(firmwareDir, 'bios-256k.bin'), 'a BIOS');
  const binary = { buildId: 'a build', version: '10', firmwareDir };
  context.history = new History({
    stateDir: context.state,
    spanMs: 600_000,
    bytesMax: 1e9,
    numbers: historyNumbers(600_000),
    config,
    configHash: '0'.repeat(64),
    qemu: binary as never,
    report: (event, details) => context.events.push(`${event}: ${String(details?.reason)}`),
  });
});
keeping.after.each(({ history, dir }) => {
  history.close();
  rmSync(dir, { recursive: true, force: true });
});

const logOf = (state: string, term: number): string => join(state, 'log', logName(VM_ID, term));

keeping('the VM as it was, and folders for QEMU', async ({ dir, state, history, events }) => {
  const plan = await history.begin({ ...START, as: 'backup' });
  const past = join(state, 'history', VM_ID);
  assert.is(plan?.dir, checkpointsOf(past));
  writeFileSync(join(dir, 'disk.raw'), 'changed since');
  assert.match(readFileSync(join(past, 'disks', '0.raw'), 'utf8'), /^as at power-on/);
  assert.is(readFileSync(join(past, 'firmware', 'bios-256k.bin'), 'utf8'), 'a BIOS');
  assert.equal(keptLogs(state), [], 'no log yet');
  mkdirSync(logOf(state, 1), { recursive: true });
  const [kept, other] = keptLogs(state);
  assert.equal([kept?.as, kept?.term, kept?.begins], ['backup', 1, 'power-on']);
  assert.equal([kept?.log, kept?.checkpoints], [logOf(state, 1), plan?.dir]);
  assert.is(other, undefined);
  assert.equal(events, []);
});

keeping(
  'what an older daemon kept of a survivor: two logs, each with its checkpoints',
  async ({ state, history }) => {
    await history.begin({ ...START, as: 'backup' });
    const past = join(state, 'history', VM_ID);
    const { as: _as, log: _log, ...rest } = JSON.parse(readFileSync(pastFile(past), 'utf8'));
    const old = (replayed: string | null): void => {
      const logs = { replayed, lived: logName(VM_ID, replayed === null ? 1 : 2) };
      writeFileSync(pastFile(past), JSON.stringify({ ...rest, format: 1, logs }));
    };
    old(VM_ID);
    mkdirSync(logOf(state, 1), { recursive: true });
    mkdirSync(logOf(state, 2));
    const looks = () =>
      keptLogs(state).map(({ term, as, begins, log, checkpoints }) => [
        [term, as, begins].join(' '),
        log,
        checkpoints,
      ]);
    assert.equal(looks(), [
      ['1 backup power-on', logOf(state, 1), join(past, 'replayed', 'checkpoints')],
      ['2 primary checkpoint', logOf(state, 2), join(past, 'lived', 'checkpoints')],
    ]);
    old(null);
    assert.equal(looks(), [
      ['1 primary power-on', logOf(state, 1), join(past, 'lived', 'checkpoints')],
    ]);
    writeFileSync(pastFile(past), JSON.stringify({ ...rest, format: 3 }));
    assert.throws(() => keptLogs(state), /past\.json is damaged: .*format/s);
  },
);

keeping('what no log is left of is forgotten', async ({ state, history }) => {
  await history.begin({ ...START, term: 3, as: 'backup' });
  mkdirSync(logOf(state, 3), { recursive: true });
  await history.begin({ ...START, term: 5, as: 'backup' });
  mkdirSync(logOf(state, 5));
  assert.equal(
    keptLogs(state).map(({ term }) => term),
    [3, 5],
  );
  rmSync(logOf(state, 3), { recursive: true });
  writeFileSync(join(state, 'history', logName(VM_ID, 5), 'past.json'), 'nonsense');
  await history.begin({ ...START, term: 7, as: 'backup' });
  assert.equal(readdirSync(join(state, 'history')), [logName(VM_ID, 7)]);
});

keeping('a full disk: given up, said once, and the space is free again', async (context) => {
  const { state, history, events } = context;
  await history.begin({ ...START, as: 'backup' });
  history.failed('checkpoint skipped at icount 5: a disk request is in flight');
  assert.is(history.error, null);
  history.failed('checkpoint at icount 9 given up: No space left on device');
  history.failed('checkpoint at icount 19 given up: No such file or directory');
  assert.match(history.error ?? '', /No space left/);
  assert.equal(readdirSync(join(state, 'history')), []);
  assert.equal(
    events.map((event) => event.split(':')[0]),
    ['history-gap', 'history-given-up'],
  );
});

keeping('an image that cannot be copied: the VM starts without', async (context) => {
  const { dir, state, history, events } = context;
  rmSync(join(dir, 'disk.raw'));
  assert.is(await history.begin({ ...START, as: 'primary' }), null);
  assert.match(events.join(), /^history-given-up: .*disk\.raw/);
  assert.equal(readdirSync(join(state, 'history')), []);
});

keeping('nothing to start at: said, and no folder is left', async (context) => {
  const { dir, state, history } = context;
  await history.begin({ ...START, as: 'backup' });
  mkdirSync(logOf(state, 1), { recursive: true });
  // Its first segments are gone.
  writeFileSync(join(logOf(state, 1), '000002.udl'), '');
  const [kept] = keptLogs(state);
  const out = join(dir, 'out');
  const signal = new AbortController().signal;
  assert.ok(kept);
  if (kept === undefined) return;
  const fails = async (code: string): Promise<void> => {
    try {
      await collect(kept, out, () => {}, signal);
    } catch (error) {
      assert.is((error as { code?: string }).code, code);
      return;
    }
    assert.unreachable('nothing was refused');
  };
  await fails('no-history');
  assert.is(existsSync(out), false);
  mkdirSync(out);
  writeFileSync(join(out, 'mine'), '');
  await fails('output-exists');
  assert.is(existsSync(join(out, 'mine')), true);
  rmSync(out, { recursive: true });
  const lock = lockIfPossible(pastFile(kept.dir), 'exclusive');
  await fails('recording-in-use');
  if (lock !== null && lock !== 'impossible') lock.release();
});

keeping.run();
