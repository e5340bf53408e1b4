// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';

/**
 * The process that `parent` has started whose name begins like this.
 * @throws Error where there is none
 */
export function childOf(parent: number | undefined, name: string): number {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    let stat = '';
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    } catch {
      continue; // it has ended
    }
    // "PID (NAME) STATE PPID …"; a name may have spaces and parentheses (proc(5)).
    const [, comm = '', rest = ''] = /^\d+ \((.*)\) (.*)/s.exec(stat) ?? [];
    if (comm.startsWith(name) && Number(rest.split(' ')[1]) === parent) return Number(pid);
  }
  throw new Error(`process ${parent} has no child ${name}`);
}
