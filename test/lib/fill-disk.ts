// SPDX-License-Identifier: Apache-2.0
/** Appends batches to a log in the folder given until it fails; reports as JSON. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodeOf, messageOf } from '../../src/base/errors.ts';
import { LogWriter } from '../../src/log/log-writer.ts';
import { readLog, someFrames, WRITER } from './logs.ts';

const dir = process.argv[2] ?? '';
// Space that is free again later, on a tmpfs; a few bytes elsewhere.
const ballast = join(dir, 'ballast');
writeFileSync(ballast, Buffer.alloc(32 * 1024));

const codeOf = (promise: Promise<void>): Promise<string | null> =>
  promise.then(() => null, errorCodeOf);

const frames = someFrames(200, 2, 4000);
const writer = await LogWriter.create(dir, WRITER);
// Some one by one, so that there are system calls that succeed; the rest at once.
for (const frame of frames.slice(0, 5)) await writer.append(frame);
const rest = await Promise.allSettled(frames.slice(5).map((frame) => writer.append(frame)));
const settled = [...frames.slice(0, 5).map(() => ({ status: 'fulfilled' })), ...rest];
const acknowledged = settled.filter(({ status }) => status === 'fulfilled').length;
const appended = frames.length;
const rejected = settled.filter(({ status }) => status === 'rejected').length;
const next = frames[acknowledged] as Buffer;
const afterwards = await codeOf(writer.append(next));
rmSync(ballast);
const stillPoisonedWithSpace = await codeOf(writer.append(next));
const sync = await codeOf(writer.sync());
const close = await codeOf(writer.close());
const { sequences } = await readLog(dir, { tail: 'torn' });
console.log(
  JSON.stringify({
    code: errorCodeOf(writer.error),
    message: messageOf(writer.error),
    appended,
    acknowledged,
    rejected,
    afterwards,
    stillPoisonedWithSpace,
    sync,
    close,
    readable: sequences.length,
  }),
);
