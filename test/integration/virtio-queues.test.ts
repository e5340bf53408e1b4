// SPDX-License-Identifier: Apache-2.0
/**
 * Queues that a virtio device does not have: no checkpoint has them, no register of
 * theirs keeps anything. And checkpoints of the format that had them.
 *
 *   npm test integration/virtio-queues
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parsePoint } from '../../src/base/position.ts';
import { writeRetained } from '../../src/recording/retained.ts';
import { assembledVm } from '../lib/assembled.ts';
import { checkpointsOf, rewriteFormat, verifyFromCheckpoints } from '../lib/checkpoints.ts';
import { run, runJson, scratch } from '../lib/command.ts';

/** It waits for so many ticks of the PIT, 55 ms each, before it reads. */
const TICKS = 25;
/** Size, vector, three addresses of two halves each, enabled; the legacy vector. */
const READS = '0000 ffff 0000 0000 0000 0000 0000 0000 0000 ffff';
/** CPU, chipset, one virtio device of one queue: 7 KB. With 1024 queues it is 50 KB. */
const STATE_BYTES_MAX = 12_000;

const dir = scratch('virtio-queues');
const recording = join(dir, 'recording');
const queues = suite('queues that a virtio device does not have');

queues('their registers keep nothing, live or from a checkpoint', async () => {
  const vm = assembledVm(dir, 'virtio-queue', { TICKS });
  const words = ['record', vm, '--out', recording, '--checkpoint-every', '200ms'];
  const { code, stdout, stderr } = await run(words, { timeoutMs: 40_000 });
  assert.is(code, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, new RegExp(`w${READS}`));
  assert.ok(checkpointsOf(recording).length >= 3, stderr);
  for (const { icount, failure } of await verifyFromCheckpoints(recording, 3)) {
    assert.is(failure, null, `from ${icount}: ${failure}`);
  }
});

queues('a checkpoint does not have them', () => {
  for (const icount of checkpointsOf(recording)) {
    const { size } = statSync(join(recording, 'checkpoints', icount, 'state'));
    assert.ok(size < STATE_BYTES_MAX, `${size} bytes`);
  }
});

queues('a checkpoint of the format that had them is refused by name', async () => {
  const all = checkpointsOf(recording);
  const [older = '', newest = ''] = all.slice(-2);
  rewriteFormat(recording, newest, 2);
  const one = await runJson(['replay', recording, '--from', newest, '--verify']);
  assert.is(one.code, 0, one.stderr);
  assert.is(String(one.json.started_at), older);
  assert.match(one.stderr, /is not used: it is of format 2 and this version reads 3; the version/);
  for (const icount of all) rewriteFormat(recording, icount, 2);
  const none = await runJson(['replay', recording, '--from', newest, '--verify']);
  assert.is(none.code, 0, none.stderr);
  assert.is(none.json.started_at, null);
  assert.match(none.stderr, /starting at power-on/);
});

queues(
  'a recording that begins at one of those is refused, and says with what to replay it',
  async () => {
    const from = parsePoint(checkpointsOf(recording)[0] ?? '');
    assert.ok(from !== null);
    writeRetained(join(recording, 'retained.json'), { from, fromSegment: 1, consoleFrom: 0 });
    for (const words of [[], ['--verify']]) {
      const { code, json, stderr } = await runJson(['replay', recording, ...words]);
      assert.is(code, 11, stderr);
      assert.is((json.error as { code: string }).code, 'log-version', stderr);
      assert.match(
        stderr,
        /format that this version does not read: use the understudy that made it/,
      );
    }
  },
);

queues.run();
