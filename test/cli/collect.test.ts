// SPDX-License-Identifier: Apache-2.0
/** `understudy collect` on what fake pairs have kept, and on what nobody has. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeLog } from '../../bench/stand-ins/batches.ts';
import { tempDir, VM_ID, writeFrames } from '../../bench/stand-ins/logs.ts';
import { CHECKPOINT_OF, KIND } from '../../src/log/kinds.ts';
import { openRecording } from '../../src/recording/folder.ts';
import { run, runJson } from '../lib/command.ts';
import { FakeVmPair } from '../lib/fake-vm-pair.ts';

const collect = suite('collect');

interface Failure {
  readonly code: string;
  readonly message: string;
}

/** What must fail; its error. */
async function failure(pair: FakeVmPair, exitCode: number, ...words: string[]): Promise<Failure> {
  const { code, json, stderr } = await runJson(['collect', ...words], { env: pair.env });
  assert.is(code, exitCode, stderr);
  return json.error as Failure;
}

collect('of running daemons, of one side, of one log', async () => {
  const pair = await FakeVmPair.make('history = "10m"');
  try {
    await pair.startBoth();
    await pair.until('backup', (status) => status.state === 'standby');
    const { name, env, dir } = pair;
    const both = await failure(pair, 2, name, '--out', join(dir, 'out'));
    assert.is(both.code, 'usage');
    assert.match(both.message, /--side primary or --side backup/);
    const none = await failure(pair, 2, name, '--side', 'backup', '--term', '9', '--out', 'x');
    assert.match(none.message, /no log of term 9:\n {2}term 1: begun as the backup/);
    assert.is((await run(['collect', name, '--side', 'middle'], { env })).code, 2);
    mkdirSync(join(dir, 'mine'));
    writeFileSync(join(dir, 'mine', 'file'), 'mine');
    const exists = await failure(pair, 1, name, '--side', 'backup', '--out', join(dir, 'mine'));
    assert.is(exists.code, 'output-exists');
    assert.equal(readdirSync(join(dir, 'mine')), ['file']);

    for (const side of ['primary', 'backup'] as const) {
      const listed = await runJson(['collect', name, '--side', side], { env });
      assert.is(listed.code, 0, listed.stderr);
      assert.is((listed.json.logs as unknown[]).length, 1);
      const out = join(dir, `of-${side}`);
      const made = await runJson(['collect', name, '--side', side, '--out', out], { env });
      assert.is(made.code, 0, made.stderr);
      assert.is(made.json.from_icount, null);
      const { manifest, config, end } = openRecording(out);
      assert.is(end, null, 'as of a recorder that was killed');
      assert.is(config.replication, null);
      assert.is(manifest.disks.length, 1);
      assert.is((await run(['inspect', out], { env })).code, 0);
      const replayed = await runJson(['replay', out], { env });
      assert.is(replayed.code, 0, replayed.stderr);
      assert.is(replayed.json.stopped_at, 'horizon');
    }
  } finally {
    await pair.end();
  }
});

collect(
  'of a log that ends epochs: refused by name, as are a replay and a debugger of it',
  async () => {
    const root = tempDir('by-epochs');
    const state = join(root, 'vm-backup');
    const end = { kind: KIND.CHECKPOINT, channel: CHECKPOINT_OF.EPOCH, len: 0 };
    const records = [1n, 2n].map((arg) => ({
      icount: 100n * arg,
      vtimeNs: 200n * arg,
      ...end,
      arg,
    }));
    const log = join(state, 'log', VM_ID.toString('hex'));
    await writeFrames(log, writeLog(VM_ID, records, 1));
    for (const [words, what] of [
      [['collect', 'vm', '--out', join(root, 'out')], 'a recording'],
      [['replay', state], 'a replay'],
      [['replay', log, '--bisect'], 'a replay'],
      [['debug', state], 'a debugger'],
    ] as const) {
      const { code, stderr } = await run(words, { env: { UNDERSTUDY_STATE_DIR: root } });
      assert.is(code, 2, stderr);
      assert.match(
        stderr,
        `was protected by checkpoints: ${what} needs one that can be executed again`,
      );
      assert.match(stderr, 'take protocol = "lockstep" with history = "10m"');
    }
    assert.not.ok(existsSync(join(root, 'out')));
    const { stdout } = await run(['inspect', state, '--records']);
    assert.match(stdout, /CHECKPOINT.*epoch 2 ends/);
  },
);

collect('of a pair without history, of no pair, and of one whose disk had no room', async () => {
  const pair = await FakeVmPair.make();
  try {
    await pair.startBoth();
    const off = await failure(pair, 1, pair.name, '--side', 'backup', '--out', 'x');
    assert.is(off.code, 'no-history');
    assert.match(off.message, /history = "10m" in \[replication\]/);
    assert.is(existsSync(join(pair.stateDir('backup'), 'history')), false);
    const nobody = await failure(pair, 3, 'nobody', '--out', 'x');
    assert.is(nobody.code, 'not-running');
    assert.match(nobody.message, /--state-dir/);
  } finally {
    await pair.end();
  }
});

collect('history of a VM without exact checkpoints is refused before it starts', async () => {
  const pair = await FakeVmPair.make();
  pair.configure('primary', 'history = "10m"', 'vga = true');
  const { code, stderr } = await pair.start('primary').done;
  assert.is(code, 2);
  assert.match(stderr, /replication\.history needs checkpoints.*VGA.*history = "off"/);
  assert.match(readFileSync(pair.toml('primary'), 'utf8'), /vga = true/);
});

collect.run();
