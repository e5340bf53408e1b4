// SPDX-License-Identifier: Apache-2.0
/** What processes and all their descendants have used of the host, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** Linux gives user space 100 ticks a second on every architecture (USER_HZ). */
const TICKS_PER_S = 100;

interface Used {
  readonly parent: number;
  readonly ticks: number;
}

/** User and system time of those that live now, in seconds; of ended children as waited for. */
export function cpuSeconds(pids: readonly number[]): number {
  const all = new Map<number, Used>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const used = read(name);
    if (used !== null) all.set(Number(name), used);
  }
  const isOurs = (pid: number): boolean => {
    for (let at = pid; at > 1; at = all.get(at)?.parent ?? 0) if (pids.includes(at)) return true;
    return false;
  };
  let ticks = 0;
  for (const [pid, used] of all) if (isOurs(pid)) ticks += used.ticks;
  return ticks / TICKS_PER_S;
}

/** Null: it is gone. proc(5): ppid is field 4, utime, stime, cutime and cstime 14 to 17. */
function read(pid: string): Used | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + (fields[index] ?? 0), 0);
  return { parent: fields[1] ?? 0, ticks };
}
