// SPDX-License-Identifier: Apache-2.0
/** What QEMU says of its disks while the VM runs (qemu/exitlog/exits/disk-full.c, disk-error.c). */
import type { DiskConfig } from './config.ts';

/** What becomes of a write for which the host has no room: `on_disk_error`. */
export type OnDiskError = 'report' | 'stop';

export type DiskNews =
  /** The guest's request waits for room; it has not heard of it. */
  | { readonly kind: 'full'; readonly disk: number; readonly text: string }
  /** All that waited is written. */
  | { readonly kind: 'room' }
  /** The guest is told that a request failed. */
  | { readonly kind: 'error'; readonly disk: number; readonly text: string };

const FULL_OR_ERROR = /exitlog: disk(\d+) (full|error): (.*)/;

/** Null: the line is of something else. */
export function diskNews(line: string, disks: readonly DiskConfig[]): DiskNews | null {
  if (line.includes('exitlog: disk room:')) return { kind: 'room' };
  const [, digits, kind, what] = FULL_OR_ERROR.exec(line) ?? [];
  if (digits === undefined || what === undefined) return null;
  const disk = Number(digits);
  const image = disks[disk]?.image;
  const text = `disk${disk}${image === undefined ? '' : ` (${image})`}: ${what}`;
  return { kind: kind === 'full' ? 'full' : 'error', disk, text };
}

/** For whoever runs the VM. */
export function describeDiskNews(news: DiskNews): string {
  switch (news.kind) {
    case 'full':
      return `${news.text}: its file system is full. The guest waits; it goes on when there is room`;
    case 'room':
      return 'the disks have room again; the guest goes on';
    case 'error':
      return `${news.text}; the guest is told`;
  }
}
