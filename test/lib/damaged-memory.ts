// SPDX-License-Identifier: Apache-2.0
/** A bit of guest memory that changes and is written by nobody, on either side of a real pair. */
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

const PAGE = 4096;

/** Guest memory as a file sees it, from this offset on. */
export interface GuestMemory {
  readonly path: string;
  readonly from: number;
  readonly bytes: number;
}

/** The one mapping of the guest's size that a QEMU may write. */
export function memoryOfQemu(pid: number, bytes: number): GuestMemory {
  const found = readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      const start = Number.parseInt(from, 16);
      return Number.parseInt(to, 16) - start === bytes ? [start] : [];
    });
  assert.is(found.length, 1, `${found.length} mappings of the size of guest memory`);
  return { path: `/proc/${pid}/mem`, from: found[0] ?? 0, bytes };
}

/** What the daemon of a backup keeps the guest's memory in. */
export function memoryOfImage(pid: number, bytes: number): GuestMemory {
  const folder = `/proc/${pid}/fd`;
  const name = readdirSync(folder).find((fd) =>
    readlinkSync(join(folder, fd)).startsWith('/memfd:understudy-image'),
  );
  assert.ok(name !== undefined, 'the daemon has an image');
  return { path: join(folder, name), from: 0, bytes };
}

/**
 * A bit of a page that the guest has never used, in the middle of others like it.
 * @returns the page's number
 */
export function damage({ path, from, bytes }: GuestMemory): number {
  const fd = openSync(path, 'r+');
  const all = Buffer.alloc(bytes);
  for (let done = 0; done < bytes; ) {
    done += readSync(fd, all, done, bytes - done, from + done);
  }
  const zeros = Buffer.alloc(PAGE);
  let [best, bestAt, run] = [0, 0, 0];
  for (let page = 0; page < bytes / PAGE; page += 1) {
    run = all.subarray(page * PAGE, (page + 1) * PAGE).equals(zeros) ? run + 1 : 0;
    if (run > best) [best, bestAt] = [run, page];
  }
  assert.ok(best > 1000, `${best} pages that were never used`);
  const page = bestAt - Math.floor(best / 2);
  writeSync(fd, Buffer.from([1]), 0, 1, from + page * PAGE);
  closeSync(fd);
  return page;
}
