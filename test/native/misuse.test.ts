// SPDX-License-Identifier: Apache-2.0
/** Whatever JavaScript passes in, the addon throws what it documents and lives on. */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startFakeQemu } from '../../bench/stand-ins/fake-qemu.ts';
import * as addon from '../../native/kvm-exit-log/index.ts';
import { BATCH_FRAME_BYTES_MAX, TestRing } from '../../native/kvm-exit-log/testing.ts';
import { KIND } from '../../src/log/kinds.ts';
import { ADDON, endWorkers } from '../lib/worker-end.ts';

const { CONTROL } = addon;
type Loose = Record<string, (...args: unknown[]) => unknown>;

/** Values that are of no use anywhere. */
const JUNK = [
  undefined,
  null,
  true,
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53,
  -1n,
  1n << 64n,
  '',
  'text\0',
  Symbol('junk'),
  {},
  [],
  () => {},
  new ArrayBuffer(8),
  new DataView(new ArrayBuffer(8)),
  new Float64Array(4),
  new Proxy({}, {}),
];
const BUFFER = Buffer.alloc(BATCH_FRAME_BYTES_MAX);
const HEADER = {
  vmId: Buffer.alloc(16),
  term: 1,
  sequence: 0n,
  sealedAtNs: 0n,
  prevChecksum: 0n,
};
/** Each method with arguments that are right. */
const RIGHT: Record<string, unknown[]> = {
  onNotify: [() => {}],
  seal: [BUFFER, 0, HEADER],
  commit: [0n],
  fill: [BUFFER, 0, 64],
  command: [KIND.CHAR_IN, 0, Buffer.from('x')],
  control: [2],
  clearControl: [2],
  setBound: [5n],
};

function throwsCleanly(call: () => unknown, what: string): void {
  try {
    call();
  } catch (error) {
    assert.instance(error, Error, what);
    const { code } = error as { code?: string };
    assert.type(code, 'string', `${what}: ${(error as Error).stack}`);
  }
}

test('every argument of every method, replaced by junk', () => {
  for (const [method, right] of Object.entries(RIGHT)) {
    right.forEach((_, position) => {
      for (const junk of JUNK) {
        const ring = new TestRing({ recordSlots: 8, dataBytes: 4096 });
        const args = [...right];
        args[position] = junk;
        const what = `${method}(#${position} = ${String(typeof junk)})`;
        throwsCleanly(() => (ring as unknown as Loose)[method]?.(...args), what);
        assert.is(ring.status().state, 'init');
        ring.destroy();
      }
    });
  }
});

test('wrong types are TypeErrors, wrong values RangeErrors', () => {
  const ring = new TestRing();
  const loose = ring as unknown as Loose;
  const cases: [() => unknown, new () => Error, string][] = [
    [() => loose.seal?.(), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [() => loose.seal?.(BUFFER, 0, { ...HEADER, sequence: 0 }), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [() => ring.seal(BUFFER, -1, HEADER), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.seal(BUFFER, BUFFER.length + 1, HEADER), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.seal(BUFFER, 0, { ...HEADER, term: 2 ** 32 }), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.seal(BUFFER, 0, { ...HEADER, sequence: -1n }), RangeError, 'ERR_OUT_OF_RANGE'],
    [
      () => ring.seal(BUFFER, 0, { ...HEADER, vmId: Buffer.alloc(15) }),
      RangeError,
      'ERR_OUT_OF_RANGE',
    ],
    [() => ring.fill(BUFFER, 0, BUFFER.length + 1), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.fill(BUFFER, 8, BUFFER.length), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.commit(1n), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.control(0), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.control(16), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.clearControl(0), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.clearControl(CONTROL.GO_LIVE), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.clearControl(CONTROL.STOP), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.clearControl(CONTROL.DETACHED | CONTROL.STOP), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.command(KIND.NET_IN, 0, Buffer.alloc(9)), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => ring.command(KIND.RESET, 0, Buffer.alloc(9)), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [() => ring.command(KIND.CHAR_IN, 0), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [() => ring.command(KIND.CHAR_IN, 0, Buffer.alloc(2 ** 21)), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => new TestRing({ recordSlots: 3 }), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => new TestRing({ recordSlots: 2 ** 40 }), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => new TestRing({ dataBytes: 1024 }), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => addon.xxh64('text' as never), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [() => addon.hashFile(7 as never), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [() => addon.hashFile('a\0b'), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => addon.openTap(7 as never), TypeError, 'ERR_INVALID_ARG_TYPE'],
    [() => addon.openTap(''), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => addon.openTap('lo\0'), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => addon.openTap('sixteen-letters-'), RangeError, 'ERR_OUT_OF_RANGE'],
    [() => addon.openTap('no-such-tap'), Error, 'ENODEV'],
  ];
  cases.forEach(([call, type, code], index) => {
    try {
      call();
      assert.unreachable(`case ${index}`);
    } catch (error) {
      assert.instance(error, type, `case ${index}: ${(error as Error).stack}`);
      assert.is((error as { code?: string }).code, code, `case ${index}`);
    }
  });
  ring.destroy();
});

test('a batch that does not fit leaves OUT as it was', async () => {
  const ring = new TestRing();
  await startFakeQemu(ring, 'produce', 3, 50, 100).done;
  for (let bytes = 0; bytes < 2000; bytes += 37) {
    assert.throws(
      () => ring.seal(Buffer.alloc(bytes), 0, HEADER),
      (error: unknown) => error instanceof RangeError,
    );
  }
  assert.is(ring.outPending(), 51);
  assert.ok(ring.seal(BUFFER, 0, HEADER) > 0);
  assert.is(ring.lastSeal().records, 51);
  ring.destroy();
});

test('after destroy every method says so, and destroy may be called again', () => {
  const ring = new TestRing();
  ring.onNotify(() => {});
  ring.destroy();
  ring.destroy();
  const requests = ['requestDiskMark', 'requestCheckpoint', 'requestFullCheckpoint'];
  const plain = ['lastSeal', 'outPending', 'status', ...requests];
  for (const method of [...Object.keys(RIGHT), ...plain]) {
    try {
      (ring as unknown as Loose)[method]?.(...(RIGHT[method] ?? []));
      assert.unreachable(method);
    } catch (error) {
      assert.is((error as { code?: string }).code, 'ERR_RING_DESTROYED', method);
    }
  }
});

test('a header whose getter destroys the ring or detaches the buffer', () => {
  const ring = new TestRing();
  const trap = {
    ...HEADER,
    get sequence(): bigint {
      ring.destroy();
      return 0n;
    },
  };
  throwsCleanly(() => ring.seal(BUFFER, 0, trap), 'destroying getter');
  const other = new TestRing();
  const memory = new Uint8Array(4096);
  const detaching = {
    ...HEADER,
    get sequence(): bigint {
      structuredClone(memory.buffer, { transfer: [memory.buffer] });
      return 0n;
    },
  };
  throwsCleanly(() => other.seal(memory, 0, detaching), 'detaching getter');
  other.destroy();
});

test('native methods refuse another `this`', () => {
  const native = createRequire(import.meta.url)(ADDON);
  for (const self of [{}, null, undefined, 1, new Map(), native.ExitRing.prototype]) {
    for (const method of ['control', 'status', 'destroy']) {
      assert.throws(() => native.ExitRing.prototype[method].call(self, 2));
    }
    assert.throws(() => native.testing.seal(self, BUFFER, 0, HEADER));
  }
  assert.throws(() => native.ExitRing(8, 4096));
});

test('destroy inside the callback', async () => {
  const ring = new TestRing({ recordSlots: 8, dataBytes: 4096 });
  let calls = 0;
  const gone = new Promise<void>((resolve) => {
    ring.onNotify(() => {
      calls++;
      ring.destroy();
      resolve();
    });
  });
  const fake = startFakeQemu(ring, 'produce', 3, 1000, 100);
  fake.done.catch(() => {});
  await gone;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.is(calls, 1);
  fake.child.kill('SIGKILL');
});

test('an error thrown by the callback is an uncaught exception, and calls go on', async () => {
  const ring = new TestRing({ recordSlots: 8, dataBytes: 4096 });
  const seen: string[] = [];
  const drain = (): void => {
    for (let sequence = 0n; ring.seal(BUFFER, 0, { ...HEADER, sequence }) > 0; sequence++);
  };
  const listener = (error: Error): void => {
    seen.push(error.message);
    // Only now does QEMU find room, and so must notify a second time.
    drain();
  };
  process.on('uncaughtException', listener);
  let calls = 0;
  ring.onNotify(() => {
    calls++;
    if (calls === 1) throw new Error('from the callback');
    drain();
  });
  await startFakeQemu(ring, 'produce', 3, 1000, 100).done;
  process.off('uncaughtException', listener);
  assert.equal(seen, ['from the callback']);
  assert.ok(calls > 1);
  ring.destroy();
});

test('commands only on a live VM; commit only forward', async () => {
  const ring = new TestRing();
  assert.ok(ring.command(KIND.POWERDOWN, 0));
  assert.ok(ring.command(KIND.CHAR_IN, 0, Buffer.from('ls\n')));
  assert.is(ring.status().inPending, 2);
  await startFakeQemu(ring, 'produce', 3, 10, 10).done;
  ring.seal(BUFFER, 0, HEADER);
  ring.commit(5n);
  assert.throws(
    () => ring.commit(4n),
    (error: unknown) => error instanceof RangeError,
  );
  ring.commit(11n);
  assert.is(ring.status().commit, 11n);
  ring.destroy();
  const full = new TestRing({ recordSlots: 2, dataBytes: 4096 });
  assert.ok(full.command(KIND.RESET, 0) && full.command(KIND.RESET, 0));
  assert.is(full.command(KIND.RESET, 0), false);
  full.destroy();
});

test('a worker that ends, by itself or by force, with a ring in use', async () => {
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  await endWorkers(
    ['terminate', 'exit', 'throw'],
    `for (let n = 0; n < 3; n++) new addon.ExitRing(8, 4096).onNotify(() => {});
     addon.hashFile(process.execPath);
     up();`,
  );
  assert.ok(descriptors() <= before + 2, 'descriptors of ended workers are closed');
});

/** All that nobody has any more goes. */
async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let n = 0; n < 10; n++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('rings that nobody destroys are collected with their descriptors', async () => {
  for (let n = 0; n < 50; n++) new TestRing({ recordSlots: 8, dataBytes: 4096 });
  const before = readdirSync('/proc/self/fd').length;
  await collectGarbage();
  assert.ok(readdirSync('/proc/self/fd').length <= before - 100);
});

test('a ring that nobody has but its courier is not collected, which would end that', async () => {
  const nothing = (): void => {};
  const courier = new addon.Courier(new addon.ExitRing(), {
    ...{ console: nothing, first: nothing, logEnded: nothing, progress: nothing },
    ...{ diverged: nothing, broken: nothing, logFailed: nothing },
  });
  await collectGarbage();
  courier.detach(1);
  courier.destroy();
});

// A failed test leaves its ring polling; that must not hang the run.
test.after(() => {
  setTimeout(() => process.exit(), 2000).unref();
});

test.run();
