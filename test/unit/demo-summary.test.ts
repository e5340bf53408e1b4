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

test('the verdict is of the losses', () => {
  assert.match(summaryText(RESULT), 'outlived its host');
  const lossy = { ...RESULT, lost: 3, problem: '3 requests were lost' };
  assert.match(summaryText(lossy), 'not go as it must: 3 requests were lost');
});

test.run();
