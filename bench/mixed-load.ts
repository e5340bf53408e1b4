// SPDX-License-Identifier: Apache-2.0
/** Random work for a guest whose console is a shell: network, disk, computing, typing. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../src/lab/random.ts';
import type { Guest } from './systems/system.ts';
import { netperf } from './workloads/netperf-client.ts';

type Type = (text: string) => Promise<void>;

/** netserver's port, 12865, as the kernel writes it. */
const LISTENS = 'grep -qs :3241 /proc/net/tcp /proc/net/tcp6';

/** What the guest runs for the load, until that is there. */
export async function mixedSetup(vm: Guest, type: Type): Promise<void> {
  await type('netserver -D >/dev/null 2>&1 &\n');
  await type(`until ${LISTENS}; do sleep 0.1; done; echo net-$((1))-up\n`);
  await vm.said('net-1-up');
}

const TESTS = ['TCP_STREAM', 'TCP_MAERTS', 'TCP_RR'];
const COMMANDS = [
  'dd if=/dev/zero bs=1M count=60 2>/dev/null | md5sum',
  '(cd /data; iozone -o -r 4k -s 1m -i 0 -f t1) | tail -n 3',
  '(cd /data; iozone -e -r 64k -s 16m -i 0 -i 1 -f t2) | tail -n 3',
  'dd if=/dev/urandom bs=64k count=30 2>/dev/null | md5sum',
  'cat /proc/interrupts /proc/meminfo | tail -n 30',
  'i=0; while [ $i -lt 200 ]; do i=$((i+1)); ls /bin | wc -l; done | tail -n 1',
  'sleep 0.5; date',
];

const NETPERF_S = 4;
let marks = 0;

/** One piece of work, which ends before it returns. */
export async function mixedStep(vm: Guest, type: Type, random: Random): Promise<void> {
  const command = COMMANDS[random.below(COMMANDS.length)] ?? 'true';
  const test = random.below(2) === 0 ? (TESTS[random.below(TESTS.length)] ?? null) : null;
  marks += 1;
  // Not the text of the mark itself, which the console echoes.
  const text = `${command}; echo mark-$((${marks}))-end\n`;
  const network =
    test === null ? Promise.resolve([]) : netperf(vm, test, ['THROUGHPUT'], NETPERF_S);
  network.catch(() => {}); // it is awaited below, when the typing is done
  for (let from = 0; from < text.length; ) {
    const burst = 1 + random.below(20);
    await type(text.slice(from, from + burst));
    from += burst;
    await sleep(random.below(30));
  }
  await Promise.all([vm.said(`mark-${marks}-end`), network]);
  await sleep(random.below(1000));
}
