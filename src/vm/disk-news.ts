// SPDX-License-Identifier: Apache-2.0
/** What QEMU says of its disks while the VM runs (qemu/exitlog/exits/disk-full.c, disk-stuck.c, disk-error.c). */
import type { DiskConfig } from './config.ts';

/** What becomes of a request for which the host has no room, or which its disk fails: `on_disk_error`. */
export type OnDiskError = 'report' | 'stop';

export type DiskNews =
  /** The guest's request waits for room; it has not heard of it. */
  | { readonly kind: 'full'; readonly disk: number; readonly text: string }
  /** All that waited is written. */
  | { readonly kind: 'room' }
  /** It fails a request; the guest is not told while there is a backup, whose may not. */
  | { readonly kind: 'failing'; readonly disk: number; readonly text: string }
  /** A request has been on its way for too long; the guest waits. */
  | { readonly kind: 'stuck'; readonly disk: number; readonly text: string }
  /** None is any more. */
  | { readonly kind: 'answers' }
  /** The guest is told that a request failed. */
  | { readonly kind: 'error'; readonly disk: number; readonly text: string };

const OF_A_DISK = /exitlog: disk(\d+) (full|failing|stuck|error): (.*)/;
type OfADisk = 'full' | 'failing' | 'stuck' | 'error';

/** Null: the line is of something else. */
export function diskNews(line: string, disks: readonly DiskConfig[]): DiskNews | null {
  if (line.includes('exitlog: disk room:')) return { kind: 'room' };
  if (line.includes('exitlog: disk answers:')) return { kind: 'answers' };
  const [, digits, kind, what] = OF_A_DISK.exec(line) ?? [];
  if (digits === undefined || what === undefined) return null;
  const disk = Number(digits);
  const image = disks[disk]?.image;
  const text = `disk${disk}${image === undefined ? '' : ` (${image})`}: ${what}`;
  return { kind: kind as OfADisk, disk, text };
}

/** For whoever runs the VM. */
export function describeDiskNews(news: DiskNews): string {
  switch (news.kind) {
    case 'full':
      return `${news.text}: its file system is full. The guest waits; it goes on when there is room`;
    case 'failing':
      return `${news.text}. The guest waits for the backup, whose disk may not fail it`;
    case 'stuck':
      return `${news.text}. The guest waits`;
    case 'answers':
      return 'the disks answer again; the guest goes on';
    case 'room':
      return 'the disks have room again; the guest goes on';
    case 'error':
      return `${news.text}; the guest is told`;
  }
}

/** A VM that goes live says the first before anybody leads it: who listens hears the last at once. */
export class DiskListeners {
  readonly #all: ((news: DiskNews) => void)[] = [];
  #last: DiskNews | null = null;

  add(run: (news: DiskNews) => void): void {
    this.#all.push(run);
    if (this.#last !== null) run(this.#last);
  }

  tell(news: DiskNews): void {
    this.#last = news;
    for (const run of this.#all) run(news);
  }
}
