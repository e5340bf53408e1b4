// SPDX-License-Identifier: Apache-2.0
/** What the demo tells people of its numbers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DemoResult, summaryText } from '../../src/demo/summary.ts';

const RESULT: DemoResult = {
  survived: true,
  requests: 2012,
  lost: 0,
  corrupted: 0,
  reconnects: 0,
  stall_ms: 23.3,
  detect_ms: 6,
  golive_ms: 16.8,
  drain_ms: 0.4,
  log_bytes_per_s: 238_411,
  disk_ok: true,
  duplicated: 0,
  stall_before_ms: 0,
  lag_before_ms: 5.7,
  latency_ms: { p50: 2.1, p99: 12, max: 66 },
  protocol: 'lockstep',
  cuts: null,
  cut_pause_ms: null,
  fault: 'primary',
  survivor: 'backup',
  seed: 1,
  fault_after_ms: 3704,
  problem: '',
};

test('a stall too short to be told is no stall of 0', () => {
  assert.match(summaryText(RESULT), /stall seen by the client .*23\.3 ms/);
  const short = summaryText({ ...RESULT, stall_ms: 0 });
  assert.match(short, /stall seen by the client .*below 20 ms/);
});

test('what the protocol is is told', () => {
  assert.match(
    summaryText(RESULT),
    /protocol .*lockstep: the backup executed the log, 5\.7 ms behind/,
  );
  const remus = summaryText({ ...RESULT, protocol: 'remus', cuts: 1180, cut_pause_ms: 1.25 });
  assert.match(remus, /protocol .*remus: 1.?180 epochs shipped, a pause of 1\.\d+ ms for each/);
});

test('the verdict is of the losses', () => {
  assert.match(summaryText(RESULT), 'outlived its host');
  const lossy = { ...RESULT, lost: 3, problem: '3 requests were lost' };
  assert.match(summaryText(lossy), 'not go as it must: 3 requests were lost');
});

test.run();
