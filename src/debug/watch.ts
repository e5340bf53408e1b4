// SPDX-License-Identifier: Apache-2.0
/**
 * Watchpoints in physical memory. A device writes there, mostly while another process runs
 * than the one whose variable it is: so what the watched addresses mean is asked where the
 * debugger stands when it moves.
 */

/** A part of a watchpoint, in one page. */
export interface Aim {
  /** Where the watchpoint begins. */
  readonly address: bigint;
  readonly physical: bigint;
  readonly length: number;
}

/** Who knows what an address means now; null: nothing is there. */
export interface Translator {
  translate(address: bigint): Promise<bigint | null>;
}

const PAGE = 4096n;
/** gdb's numbers of `watch` and `awatch`. */
const WRITTEN = ['2', '4'];

export class Aims {
  /** By point; of one that means nothing where the debugger is, what it meant last. */
  readonly #known = new Map<string, readonly Aim[]>();

  /** @param points as gdb names them: `TYPE,ADDRESS,LENGTH` */
  async of(points: ReadonlySet<string>, translator: Translator): Promise<readonly Aim[]> {
    const all: Aim[] = [];
    for (const point of points) {
      const [type = '', address = '', length = ''] = point.split(',');
      if (!WRITTEN.includes(type)) continue;
      const found = await translated(BigInt(`0x${address}`), BigInt(`0x${length}`), translator);
      if (found.length > 0) this.#known.set(point, found);
      all.push(...(this.#known.get(point) ?? []));
    }
    return all;
  }
}

async function translated(
  address: bigint,
  length: bigint,
  translator: Translator,
): Promise<readonly Aim[]> {
  const aims: Aim[] = [];
  for (let at = address; at < address + length; at = (at / PAGE + 1n) * PAGE) {
    const page = (at / PAGE + 1n) * PAGE;
    const end = page < address + length ? page : address + length;
    const physical = await translator.translate(at);
    if (physical !== null) aims.push({ address, physical, length: Number(end - at) });
  }
  return aims;
}

/** As QEMU is told (qemu/exitlog/debug/debug-writes.c). */
export function aimText(aims: readonly Aim[]): string {
  const hex = (value: bigint | number): string => value.toString(16);
  return aims
    .map(({ address, physical, length }) => `${hex(address)},${hex(physical)},${hex(length)}`)
    .join(';');
}
