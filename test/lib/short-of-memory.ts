// SPDX-License-Identifier: Apache-2.0
/**
 * A process that receives epochs into an image, and says what becomes of that: a line for its
 * port, then one for each event. Its parent takes memory away from it (image-memory.test.ts).
 *
 *   short-of-memory.ts DIR MEMORY_BYTES
 */
import { join } from 'node:path';
import { TestCourier, until } from '../../bench/stand-ins/courier.ts';
import { VM_ID, WRITER } from '../../bench/stand-ins/logs.ts';
import { ExitRing, Image, Listener } from '../../native/kvm-exit-log/index.ts';
import { LogFile } from '../../src/log/log-file.ts';

const [dir = '', bytes = ''] = process.argv.slice(2);
const image = new Image(Number(bytes), [], false);
const t = new TestCourier(new ExitRing());
const log = new LogFile(join(dir, 'log'), WRITER).start;
t.courier.receive({ vmId: VM_ID, term: 1, durable: false, log, image });
const listener = await Listener.on('127.0.0.1', 0, (link) => {
  link.start(t.linkEvents);
  t.courier.attach(link);
});
console.log(`port ${listener.port}`);
await until('an end', () => t.failed.length + t.broken.length + t.closed.length > 0, 60_000);
console.log(JSON.stringify({ failed: t.failed, broken: t.broken, closed: t.closed }));
t.courier.closeReceive();
t.courier.handOver(image.restFd);
console.log(`epoch ${t.courier.receiveFacts().imageEpoch}`);
process.exit(0);
