// SPDX-License-Identifier: Apache-2.0
/** What `understudy collect` made of a pair's past, and what it is worth. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { comparePoints, type Point } from '../../src/base/position.ts';
import { readDigest } from '../../src/log/batch.ts';
import { KIND } from '../../src/log/kinds.ts';
import { LogEndFinder } from '../../src/log/log-end.ts';
import { LogReader } from '../../src/log/log-reader.ts';
import { finishRecording, openRecording } from '../../src/recording/folder.ts';
import { hashDisks } from '../../src/vm/disk.ts';
import { checkpointsOf } from './checkpoints.ts';
import { run, runJson } from './command.ts';

/** How many checkpoints there are in what a state folder keeps. */
export function kept(stateDir: string): number {
  const history = join(stateDir, 'history');
  if (!existsSync(history)) return 0;
  return readdirSync(history)
    .map((name) => join(history, name, 'checkpoints'))
    .filter((dir) => existsSync(dir))
    .reduce((sum, dir) => sum + readdirSync(dir).filter((name) => /^\d+$/.test(name)).length, 0);
}

/** Says of a recording whose log has its END, and of the disk then, that it is complete. */
export async function completed(dir: string, image: string): Promise<void> {
  const recording = openRecording(dir);
  const finder = new LogEndFinder();
  let [records, batches, log_bytes] = [0, 0, 0];
  for await (const { batch } of new LogReader(recording.paths.log)) {
    finder.see(batch);
    records += batch.header.recordCount;
    batches += 1;
    log_bytes += batch.frame.length;
  }
  const end = finder.end();
  assert.ok(end !== null, 'it has its END');
  if (end === null) return;
  const { reason, point, vtimeNs, digest } = end;
  const disks = await hashDisks([image]);
  const console_bytes = statSync(recording.paths.console).size;
  const counts = { records, batches, log_bytes, console_bytes, wall_s: 0 };
  finishRecording(recording, { reason, point, vtimeNs, digest, disks, ...counts });
}

/** Name, size and time of change of every file. */
export function looks(dir: string): string {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(dir, name));
      return `${name} ${size} ${mtimeMs}`;
    })
    .join('\n');
}

export async function collect(
  words: readonly string[],
  stateRoot: string,
): Promise<Record<string, unknown>> {
  const env = { UNDERSTUDY_STATE_DIR: stateRoot };
  const { code, json, stderr } = await runJson(['collect', ...words], { env });
  assert.is(code, 0, stderr);
  assert.is(stderr, '');
  return json;
}

/** Digests and outputs that a replay from a point on compares. */
export async function comparedFrom(
  recording: string,
  from: Point,
): Promise<{ digests: number; packets: number }> {
  const { paths, retained } = openRecording(recording);
  const fromIndex = retained?.fromSegment ?? 1;
  let [digests, packets] = [0, 0];
  for await (const { batch } of new LogReader(paths.log, { tail: 'torn', fromIndex })) {
    for (const { kind, point, payload } of batch.records()) {
      if (comparePoints(point, from) <= 0) continue;
      if (kind === KIND.NET_OUT) packets += 1;
      if (kind !== KIND.DIGEST || payload === null) continue;
      assert.ok(readDigest(payload).ram !== 0n);
      digests += 1;
    }
  }
  return { digests, packets };
}

/**
 * Replays from its beginning, from its first and last checkpoint and from these: each gets to
 * the same end, and QEMU has compared every output and digest on the way.
 */
export async function replaysExactly(
  recording: string,
  to: string,
  also: readonly string[] = [],
): Promise<void> {
  const icounts = checkpointsOf(recording);
  const starts = new Set([null, icounts[0], icounts.at(-1), ...also]);
  for (const from of starts) {
    if (from === undefined) continue;
    const words = from === null ? [] : ['--from', from];
    const { code, stdout, stderr } = await run(['replay', recording, ...words, '--json'], {
      timeoutMs: 600_000,
    });
    assert.is(code, 0, `from ${from}: ${stderr}`);
    assert.is(stderr, '', `from ${from}`);
    const json = JSON.parse(stdout) as Record<string, unknown>;
    assert.is(json.stopped_at, 'horizon', `from ${from}`);
    assert.is(String(json.icount), to, `from ${from}`);
    if (from !== null) assert.is(String(json.started_at), from);
  }
}
