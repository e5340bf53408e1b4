// SPDX-License-Identifier: Apache-2.0
/** Protected pairs of the benchmark harness: what is seen of them, and whether they count. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { factsOf, Sampler } from '../../bench/run/sampler.ts';
import { writeLog } from '../../bench/stand-ins/batches.ts';
import { tempDir, VM_ID, writeFrames } from '../../bench/stand-ins/logs.ts';
import { verifyImage } from '../../bench/systems/image-verify.ts';
import { pair } from '../../bench/systems/pair.ts';
import { protectedPairs } from '../../bench/systems/registry.ts';
import type { RunningVm } from '../../bench/systems/system.ts';
import { DIGEST_KIND, KIND } from '../../src/log/kinds.ts';

const pairs = suite('pairs of the bench');

const NO_VM: RunningVm = {
  prefix: [],
  guestAddress: '',
  startedMs: 0,
  console: () => '',
  said: () => Promise.resolve(0),
  pids: () => [],
  ended: Promise.resolve(),
  close: async () => {},
};

pairs("an epoch's time to its ack is by how many wait", () => {
  const at = (atMs: number, sequence: number, epochs_held: number, lag_ms: number) => ({
    atMs,
    status: { sequence, epochs_held, lag_ms, outputs: 0, log_bytes_total: sequence * 100 } as never,
  });
  const facts = factsOf([at(0, 0, 1, 4), at(500, 1000, 0, 2), at(1000, 2000, 2, 3)]);
  assert.is(facts.epochs, 2000);
  assert.is(facts.epoch_ack_mean_us, 500); // one waits, two thousand a second
  assert.is(facts.epoch_bytes_mean, 100);
  assert.is(facts.lag_p50_ms, 3);
  assert.equal(factsOf([]), {});
});

pairs('what epochs had is of the time between two looks, and by kind', () => {
  const at = (atMs: number, cuts: number, pages: number, outs: number, linkBytes: number) => ({
    atMs,
    linkBytes,
    status: {
      sequence: 3 * cuts,
      epochs_held: 0,
      outputs: 0,
      log_bytes_total: 0,
      cuts,
      cut_pages: pages,
      cut_pause_ms: 2,
      cut_pause_max_ms: 9,
      disk_bytes_total: 40 * cuts,
      cut_events: { net_out: { happened: 2 * outs, cuts: outs } },
    } as never,
  });
  // 100 epochs of 10 pages, then 300 more: 400 of 25 on average.
  const facts = factsOf([at(0, 100, 10, 5, 1000), at(2000, 400, 25, 65, 61_000)]);
  assert.is(facts.epochs, 300, 'not batches');
  assert.is(facts.cut_pages_mean, 30);
  assert.is(facts.cut_pause_mean_ms, 2);
  assert.is(facts.cut_pause_max_ms, 9);
  assert.is(facts.net_out_cuts_per_s, 30);
  assert.is(facts.net_out_per_s, 60);
  assert.is(facts.link_bytes_per_s, 30_000);
  assert.is(facts.epoch_link_bytes_mean, 200);
  assert.is(facts.epoch_disk_bytes_mean, 40);
  assert.is(facts.epoch_state_bytes_mean, undefined, 'this status does not have it');
});

pairs('a pair is looked at in each part of what is measured, and has facts of that', async () => {
  let cuts = 0;
  const status = (): Promise<never> => {
    cuts += 5;
    const fixed = { sequence: 0, epochs_held: 0, outputs: 0, log_bytes_total: 0 };
    return Promise.resolve({ state: 'protected', cuts, ...fixed } as never);
  };
  const sampler = new Sampler({ ...NO_VM, status });
  await sleep(150);
  const fromMs = performance.now();
  await sleep(250);
  const facts = await sampler.stop({ late: { fromMs, toMs: performance.now() } });
  const [all = 0, late = 0] = [facts.epochs, facts['late: epochs']];
  assert.ok(late >= 5 && late < all, `${late} of ${all}`);
});

pairs('an image counts when the backup had digests to compare up to the end', async () => {
  const of = async (name: string, kinds: readonly (readonly [kind: number, channel: number])[]) => {
    const logs = tempDir(`image-${name}`);
    mkdirSync(join(logs, 'log'));
    const records = kinds.map(([kind, channel], at) => ({
      icount: BigInt(at >> 1),
      vtimeNs: 0n,
      kind,
      channel,
      len: 0,
      arg: 0n,
      ...(kind === KIND.DIGEST ? { payload: Buffer.alloc(40) } : {}),
    }));
    await writeFrames(join(logs, 'log'), writeLog(VM_ID, records, 2));
    return verifyImage(logs, true);
  };
  const digest = [KIND.DIGEST, DIGEST_KIND.PERIODIC] as const;
  const cut = [KIND.CHECKPOINT, 1] as const;
  const end = [
    [KIND.DIGEST, DIGEST_KIND.FINAL],
    [KIND.END, 1],
  ] as const;
  const output = [KIND.RESET, 0] as const;
  const good = await of('good', [digest, cut, output, cut, ...end]);
  assert.is(good.problem, null);
  assert.equal(good.verification, { replay: null, image: true, disks: true });
  assert.is(good.facts.digests, 1);
  const none = await of('none', [output, cut, output, cut, ...end]);
  assert.match(none.problem ?? '', /no epoch had a digest/);
  assert.is(none.verification?.image, false);
  const early = await of('early', [digest, cut, output, cut]);
  assert.match(early.problem ?? '', /has no END/);
});

pairs('a key that VM.toml does not have makes a pair that is not yet there', () => {
  const named = pair({ protocol: 'kemari', replication: { no_such_key: 'io-log' } });
  assert.match(named.notYet ?? '', /^not yet: .* no_such_key = "io-log" in \[replication\]/);
  assert.is(pair({ protocol: 'remus', replication: { interval_ms: 25 } }).notYet, undefined);
  for (const { name, protocol } of protectedPairs()) {
    if (/^remus/.test(name ?? protocol)) assert.is(protocol, 'remus');
  }
});

pairs.run();
