// SPDX-License-Identifier: Apache-2.0
/**
 * What processes and all their descendants have used of the host, thread by thread: from
 * /proc/PID/task/TID/schedstat, in nanoseconds. (The ticks of /proc/PID/stat are 10 ms, and
 * an idle VM uses a few of them in seconds.)
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Nanoseconds on a CPU since a thread began, by thread id. */
export type CpuUsed = ReadonlyMap<number, number>;

/** CPU time of the threads that live now. */
export function cpuUsed(pids: readonly number[]): CpuUsed {
  const parents = new Map<number, number>();
  for (const pid of numbersIn('/proc')) {
    const parent = parentOf(pid);
    if (parent !== null) parents.set(pid, parent);
  }
  const isOurs = (pid: number): boolean => {
    for (let at = pid; at > 1; at = parents.get(at) ?? 0) if (pids.includes(at)) return true;
    return false;
  };
  const used = new Map<number, number>();
  for (const pid of [...parents.keys()].filter(isOurs)) {
    for (const tid of numbersIn(`/proc/${pid}/task`)) {
      // Documentation/scheduler/sched-stats.rst: the first field is the time on the CPU.
      const [ns] = read(`/proc/${pid}/task/${tid}/schedstat`)?.split(' ') ?? [];
      if (ns !== undefined) used.set(tid, Number(ns));
    }
  }
  return used;
}

/** User and system time between the two; a thread that ended in between counts for nothing. */
export function secondsSince(before: CpuUsed, after: CpuUsed): number {
  let sumNs = 0;
  for (const [tid, ns] of after) sumNs += ns - (before.get(tid) ?? 0);
  return sumNs / 1e9;
}

/** Null: it is gone. proc(5): ppid is field 4, after the name in brackets. */
function parentOf(pid: number): number | null {
  const stat = read(`/proc/${pid}/stat`);
  return stat === null ? null : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

function numbersIn(dir: string): number[] {
  try {
    return readdirSync(dir)
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return []; // it is gone
  }
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
