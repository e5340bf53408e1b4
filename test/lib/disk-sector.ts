// SPDX-License-Identifier: Apache-2.0
/** A VM that runs test/lib/disk-sector.s, and a QEMU whose disk fails (fail-disk.c). */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './command.ts';
import { preloaded } from './preloaded.ts';

/** Bytes of one write. */
export const ROUND_BYTES = 32 * 1024;
const FIRST_SECTOR = 2048;
export const FIRST_BYTE = FIRST_SECTOR * 512;
const DISK_BYTES = 64 << 20;

interface Options {
  /** How often it writes 32 KiB. */
  readonly rounds: number;
  readonly on?: string;
  /** Flush, which it can on IDE, between the writes and the reads. */
  readonly flush?: true;
  /** Where the image is; default: `dir`. It is called disk.raw. */
  readonly image?: string;
  /** [replication] of VM.toml. */
  readonly replication?: string;
}

/** A boot sector of test/lib/, into `dir`; its path there. */
export function assemble(
  source: string,
  dir: string,
  symbols: Readonly<Record<string, number>>,
): string {
  const object = join(dir, 'sector.o');
  const sector = join(dir, 'sector');
  const defined = Object.entries(symbols).flatMap(([name, value]) => [
    '--defsym',
    `${name}=${value}`,
  ]);
  execFileSync('as', ['--32', ...defined, '-o', object, join(root, 'test/lib', source)]);
  const flat = ['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary'];
  execFileSync('ld', [...flat, '-o', sector, object]);
  return sector;
}

/** @returns the path of its VM.toml, in `dir` */
export function diskSectorVm(dir: string, options: Options): string {
  const {
    rounds,
    on = 'virtio-blk',
    flush,
    image = join(dir, 'disk.raw'),
    replication = '',
  } = options;
  mkdirSync(dir, { recursive: true });
  const sector = assemble('disk-sector.s', dir, {
    ROUNDS: rounds,
    FIRST: FIRST_SECTOR,
    FLUSH: flush === true ? 1 : 0,
  });
  truncateSync(sector, DISK_BYTES);
  if (options.image === undefined) copyFileSync(sector, image);
  const vm = join(dir, 'VM.toml');
  writeFileSync(
    vm,
    `name = "sector"\nmemory = "32M"\nrng = false\n` +
      `${on === 'ahci' ? 'machine = "q35"\n' : ''}` +
      `[[disk]]\nimage = ${JSON.stringify(image)}\ninterface = "${on}"\n${replication}`,
  );
  return vm;
}

/** What a disk does wrong. */
export interface Fault {
  /** late: a read. */
  readonly what: 'write' | 'read' | 'flush' | 'late';
  /** 0: a read has other bytes. */
  readonly errno: number;
  readonly from?: number;
  readonly end?: number;
  /** Share of the request that is done before it fails. */
  readonly percent?: number;
}

export class FailingDisk {
  /** For the QEMU. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  /** @param image how its path ends */
  constructor(dir: string, image = '/disk.raw') {
    const library = join(dir, 'fail-disk.so');
    const source = join(root, 'test/lib/fail-disk.c');
    execFileSync('cc', ['-shared', '-fPIC', '-O', '-Wall', '-Werror', '-o', library, source]);
    this.#file = join(dir, 'faults');
    this.env = preloaded(library, { FAIL_DISK: this.#file, FAIL_DISK_NAME: image });
    this.set();
  }

  /** Sets the faults that hold from now on. */
  set(...faults: Fault[]): void {
    const lines = faults.map(
      ({ what, errno, from = 0, end = DISK_BYTES, percent = 0 }) =>
        `${what} ${errno} ${from} ${end} ${percent}\n`,
    );
    writeFileSync(this.#file, lines.join(''));
  }
}
