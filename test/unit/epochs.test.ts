// SPDX-License-Identifier: Apache-2.0
/** Epochs, the output gate, the lockstep policy and the lag bound: pure, so tested pure. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Epoch } from '../../src/epochs/epoch.ts';
import { LagPolicy } from '../../src/epochs/lag.ts';
import { lockstepSealPolicy } from '../../src/epochs/lockstep.ts';
import { OutputGate } from '../../src/epochs/output-gate.ts';
import { protocolByName, type SealView } from '../../src/epochs/policy.ts';

function sealed(sequence: number, console?: string): Epoch {
  const epoch = new Epoch(BigInt(sequence));
  epoch.seal({
    sequence: BigInt(sequence),
    recordEnd: BigInt(sequence * 10 + 10),
    horizon: { icount: BigInt(sequence), vtimeNs: 0n },
    records: 10,
    outputs: 1,
    bytes: 100,
  });
  if (console !== undefined) epoch.console = Buffer.from(console);
  return epoch;
}

const epochs = suite('epoch');

epochs('moves forward only, one state at a time', () => {
  const epoch = new Epoch(0n);
  assert.throws(() => epoch.send(), /cannot go from open to sent/);
  assert.throws(() => epoch.ack(), /cannot go from open to acked/);
  const next = sealed(1);
  assert.throws(() => next.ack(), /cannot go from sealed to acked/);
  assert.throws(() => next.release(false), /released in state sealed without an ack/);
  next.send();
  assert.throws(() => next.release(false), /released in state sent without an ack/);
  next.ack();
  next.release(false);
  assert.throws(() => next.release(true), /cannot go from released/);
});

epochs('detached, an ack is not needed', () => {
  const epoch = sealed(0);
  epoch.release(true);
  assert.is(epoch.state, 'released');
});

epochs.run();

interface Left {
  commits: bigint[];
  console: string;
}

function gate(): { gate: OutputGate; left: Left } {
  const left: Left = { commits: [], console: '' };
  return {
    left,
    gate: new OutputGate({
      commit: (recordEnd) => left.commits.push(recordEnd),
      console: (bytes) => {
        left.console += bytes.toString();
      },
    }),
  };
}

const gates = suite('output gate');

gates('needs the ack and our own log, in whichever order', () => {
  for (const order of ['ack first', 'log first']) {
    const { gate: g, left } = gate();
    const epoch = sealed(0, 'hello');
    g.add(epoch);
    g.sent(epoch);
    if (order === 'ack first') g.ack(0n, 10n);
    else g.logged(epoch);
    assert.equal(left, { commits: [], console: '' });
    if (order === 'ack first') g.logged(epoch);
    else g.ack(0n, 10n);
    assert.equal(left, { commits: [10n], console: 'hello' });
  }
});

gates('releases in order: one that is held holds those after it', () => {
  const { gate: g, left } = gate();
  const all = [sealed(0, 'a'), sealed(1, 'b'), sealed(2, 'c')];
  for (const epoch of all) {
    g.add(epoch);
    g.sent(epoch);
  }
  g.ack(2n, 30n);
  for (const epoch of all.slice(1)) g.logged(epoch);
  assert.equal(left.commits, []);
  assert.is(g.held, 3);
  if (all[0] !== undefined) g.logged(all[0]);
  assert.equal(left, { commits: [30n], console: 'abc' });
  assert.is(g.outputsReleased, 3);
});

gates('an ack from the future is refused, by what was sent', () => {
  const { gate: g, left } = gate();
  const epoch = sealed(0);
  g.add(epoch);
  assert.throws(
    () => g.ack(0n, 10n),
    (error: Error) => /acknowledged batch 0, which was never sent/.test(error.message),
  );
  g.sent(epoch);
  assert.throws(() => g.ack(7n, 80n), /batch 7, which was never sent \(the last one sent is 0\)/);
  assert.throws(() => g.ack(0n, 11n), /as ending at record 11, it ends at 10/);
  assert.equal(left.commits, []);
});

gates('an old ack changes nothing', () => {
  const { gate: g, left } = gate();
  const epoch = sealed(0);
  g.add(epoch);
  g.sent(epoch);
  g.logged(epoch);
  g.ack(0n, 10n);
  g.ack(0n, 10n);
  assert.equal(left.commits, [10n]);
});

gates('closed, nothing leaves, whatever is acked; the first reason stays', () => {
  const { gate: g, left } = gate();
  const epoch = sealed(0, 'x');
  g.add(epoch);
  g.sent(epoch);
  g.close('disk full');
  g.close('again');
  g.ack(0n, 10n);
  g.logged(epoch);
  g.detach();
  assert.equal(left, { commits: [], console: '' });
  assert.is(g.closedReason, 'disk full');
  g.reopen();
  assert.equal(left, { commits: [10n], console: 'x' });
});

gates('detached, everything held leaves, and later epochs at once', () => {
  const { gate: g, left } = gate();
  const first = sealed(0, 'a');
  g.add(first);
  g.sent(first);
  g.add(sealed(1, 'b'));
  g.detach();
  g.add(sealed(2, 'c'));
  assert.equal(left, { commits: [20n, 30n], console: 'abc' });
});

gates.run();

const policies = suite('lockstep');
const idle: SealView = {
  records: 0,
  outputs: 0,
  oldestRecordMs: 0,
  horizonMoved: false,
  instructionsSinceSeal: 0,
  sinceSealMs: 1000,
};
const policy = lockstepSealPolicy({ batchUsMax: 1000 });

policies('idle costs nothing', () => {
  assert.is(policy.sealInMs(idle), Number.POSITIVE_INFINITY);
});

policies('an output seals at once', () => {
  assert.is(policy.sealInMs({ ...idle, records: 1, outputs: 1, sinceSealMs: 0 }), 0);
});

policies('inputs wait for batch_us_max, or for many', () => {
  assert.is(policy.sealInMs({ ...idle, records: 3 }), 1);
  assert.is(policy.sealInMs({ ...idle, records: 3, oldestRecordMs: 0.4 }), 0.6);
  assert.is(policy.sealInMs({ ...idle, records: 3, oldestRecordMs: 2 }), 0);
  assert.is(policy.sealInMs({ ...idle, records: 1024 }), 0);
});

policies('a horizon alone is spaced: closely when busy, widely when idle', () => {
  const moved = { ...idle, horizonMoved: true, sinceSealMs: 0 };
  assert.is(policy.sealInMs({ ...moved, instructionsSinceSeal: 1e6 }), 2);
  assert.is(policy.sealInMs({ ...moved, instructionsSinceSeal: 1000 }), 50);
  assert.is(policy.sealInMs({ ...moved, instructionsSinceSeal: 1e6, sinceSealMs: 2 }), 0);
});

policies('a protocol that does not exist is refused, with the nearest that does', () => {
  assert.throws(
    () => protocolByName('lockstop', { batchUsMax: 1, lagMsMax: 1 }),
    /"lockstop" is not a protocol.*did you mean "lockstep"/,
  );
});

policies.run();

const lags = suite('lag');

lags('the bound is the backup plus lag_ms_max at the measured rate', () => {
  const lag = new LagPolicy({ lagMsMax: 100, floorPerMs: 1000 });
  assert.is(lag.icountMax(), 100_000n);
  for (let ms = 0; ms <= 100; ms += 5) lag.primaryAt({ atMs: ms, icount: BigInt(ms * 4000) });
  lag.backupAt(200_000n);
  assert.is(lag.icountMax(), 200_000n + 400_000n);
});

lags('says how far behind the backup is, in instructions and ms', () => {
  const lag = new LagPolicy({ lagMsMax: 500 });
  for (let ms = 0; ms <= 100; ms += 5) lag.primaryAt({ atMs: ms, icount: BigInt(ms * 1000) });
  lag.backupAt(60_000n);
  const view = lag.view(100);
  assert.is(view.instructions, 40_000n);
  assert.ok(view.ms >= 35 && view.ms <= 45, `${view.ms} ms`);
  lag.backupAt(100_000n);
  assert.equal(lag.view(100), { instructions: 0n, ms: 0, throttled: false });
});

lags('a primary at the bound is throttled, and for a while after', () => {
  const lag = new LagPolicy({ lagMsMax: 10, floorPerMs: 1000 });
  const bound = lag.icountMax();
  lag.primaryAt({ atMs: 5, icount: bound });
  assert.is(lag.view(10).throttled, true);
  assert.is(lag.view(2000).throttled, false);
});

lags('idle time does not lower the rate that a burst after it needs', () => {
  const lag = new LagPolicy({ lagMsMax: 100, floorPerMs: 1000 });
  for (let ms = 0; ms <= 100; ms += 5) lag.primaryAt({ atMs: ms, icount: BigInt(ms * 4000) });
  for (let ms = 100; ms <= 400; ms += 5) lag.primaryAt({ atMs: ms, icount: 400_000n });
  assert.ok(lag.ratePerMs > 3500, `${lag.ratePerMs} per ms`);
});

lags.run();
