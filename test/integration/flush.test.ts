// SPDX-License-Identifier: Apache-2.0
/**
 * A backup's disk that flushes slowly does not slow the primary; once the backup is
 * live, what the guest is told is durable is durable.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requestFrame } from '../../src/lab/frames.ts';
import { root, scratch } from '../lib/command.ts';
import { Pair, type Wire } from '../lib/pair.ts';
import { preloaded } from '../lib/preloaded.ts';
import { referenceGuest } from '../lib/workloads.ts';

const FLUSH_MS = 400;
const LOAD_MS = 5 * FLUSH_MS;
const flush = suite('flush');

interface Flush {
  readonly fromNs: bigint;
  readonly toNs: bigint;
}

/** Sends a request, which the guest stores with fsync; until its answer. */
async function request(pair: Pair, wire: Wire, n: number): Promise<void> {
  const before = wire.received.length;
  const frame = requestFrame(1, n);
  wire.send(frame);
  const untilMs = Date.now() + 20_000;
  while (wire.received.length < before + frame.length) {
    if (Date.now() > untilMs) throw new Error(`request ${n} is not answered`);
    await sleep(1);
  }
  assert.equal(wire.received.subarray(before), frame);
  assert.not.ok(wire.closed);
  assert.ok((await pair.status('backup')) !== null, 'the backup is there');
}

flush('slow on the backup: not waited for in lockstep, waited for when live', async () => {
  const dir = scratch('flush');
  const library = join(dir, 'slow-flush.so');
  const source = join(root, 'test/lib/slow-flush.c');
  execFileSync('cc', ['-shared', '-fPIC', '-O', '-o', library, source]);
  const log = join(dir, 'flushes');
  const flushes = (): Flush[] =>
    (existsSync(log) ? readFileSync(log, 'utf8') : '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [fromNs = '0', toNs = '0'] = line.split(' ');
        return { fromNs: BigInt(fromNs), toNs: BigInt(toNs) };
      });
  const backup = preloaded(library, { SLOW_FLUSH_MS: String(FLUSH_MS), SLOW_FLUSH_LOG: log });
  const pair = Pair.start(dir, await referenceGuest(), [], { env: { backup } });
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    const wire = pair.connect(7);
    await pair.until('it connects', () => wire.connected);
    const untilMs = Date.now() + LOAD_MS;
    let requests = 0;
    for (; Date.now() < untilMs; requests += 1) await request(pair, wire, requests);
    const lagMs = Number((await pair.status('primary'))?.lag_ms);
    assert.ok(lagMs < FLUSH_MS, `the backup is ${lagMs} ms behind: it waits for its disk`);
    await pair.until('the backup flushes now and then', () => flushes().length > 0);
    assert.ok(flushes().length < requests / 2, `${flushes().length} for ${requests} requests`);

    pair.signal('primary', 'SIGKILL');
    await pair.until('the backup is live', async () => {
      return (await pair.status('backup'))?.state === 'needs-backup';
    });
    const liveNs = process.hrtime.bigint();
    await request(pair, wire, requests);
    const answeredNs = process.hrtime.bigint();
    const real = flushes().filter(({ fromNs, toNs }) => fromNs > liveNs && toNs < answeredNs);
    assert.ok(real.length > 0, 'a request was answered and no flush was done for it');
    wire.end();
  } finally {
    await pair.end();
  }
});

flush.run();
