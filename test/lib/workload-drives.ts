// SPDX-License-Identifier: Apache-2.0
/** Who acts on the VM of a workload from outside while it is recorded. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { extractProgram } from '../../bench/initrd.ts';
import type { Running } from './command.ts';
import type { Netns } from './netns.ts';
import type { Context } from './workloads.ts';

const COMMANDS = [
  'ls /bin | head -n 20',
  'cat /proc/interrupts | tail -n 5',
  'dd if=/dev/urandom bs=1k count=8 2>/dev/null | md5sum',
  'head -c 64 /dev/hwrng | md5sum',
  'date; cat /proc/uptime',
  'sleep 0.2',
  'i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo $i',
  'cat /proc/meminfo | head -n 3',
];

export async function typeOnSerial(
  running: Running,
  context: Context,
): Promise<Record<string, unknown>> {
  await running.printed('guest# ');
  const facts = await typeLines(running, context, 8);
  running.child.stdin?.write('exit\n');
  return facts;
}

/** S3, from which the clock's alarm wakes it; its devices work then. */
export async function sleepTwice({ child, printed }: Running): Promise<Record<string, unknown>> {
  await printed('guest# ');
  for (const round of [1, 2]) {
    const words = [
      `dd if=/dev/urandom of=/data/slept-${round} bs=64k count=4 conv=fsync`,
      'echo +2 >/sys/class/rtc/rtc0/wakealarm',
      'echo mem >/sys/power/state',
      `md5sum /data/slept-*`,
      `echo woke-$((${round}))-up`,
    ];
    child.stdin?.write(`${words.join('; ')}\n`);
    await printed(`woke-${round}-up`);
  }
  // Not by powering off: woken on q35 with this firmware, it has no PM registers for that.
  child.kill('SIGINT');
  return {};
}

export async function sees(running: Running, text: string): Promise<Record<string, unknown>> {
  await running.printed(text);
  return {};
}

/** A person at the keyboard: pauses, corrections, bursts. */
async function typeLines(
  running: Running,
  { random }: Context,
  lines: number,
): Promise<Record<string, unknown>> {
  const type = (text: string): void => {
    running.child.stdin?.write(text);
  };
  for (let line = 0; line < lines; line += 1) {
    const words = COMMANDS[random.below(COMMANDS.length)] ?? 'true';
    const text = `${words}; echo mark-$((${line}))-end\n`;
    if (random.below(3) === 0) type(`wrong${'\b'.repeat(5)}`);
    for (let at = 0; at < text.length; ) {
      const burst = 1 + random.below(12);
      type(text.slice(at, at + burst));
      at += burst;
      await sleep(random.below(40));
    }
    await running.printed(`mark-${line}-end`);
    await sleep(random.below(150));
  }
  return { lines };
}

/** Netperf into the guest, out of it, and request/response; then Ctrl-C. */
export async function netperf(
  running: Running,
  context: Context,
): Promise<Record<string, unknown>> {
  const { netns, dir, guest, netperfS } = context;
  if (netns === null) throw new Error('netperf needs a network');
  await running.printed('ready netserver');
  const client = join(dir, 'netperf');
  extractProgram(guest.initrd, 'netperf', client);
  const facts: Record<string, unknown> = {};
  for (const test of ['TCP_STREAM', 'TCP_MAERTS', 'TCP_RR']) {
    const words = ['-H', netns.guestIp, '-t', test, '-l', String(netperfS), '-P', '0', '-v', '0'];
    facts[test] = Number((await inside(netns, client, words)).trim());
  }
  running.child.kill('SIGINT');
  return facts;
}

/** Network, disk and computing behind someone who types. */
export async function everythingAtOnce(
  running: Running,
  context: Context,
): Promise<Record<string, unknown>> {
  const { netns, dir, guest } = context;
  if (netns === null) throw new Error('netperf needs a network');
  await running.printed('guest# ');
  const work = [
    'netserver -D >/dev/null 2>&1 &',
    'until grep -qs :3241 /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done; echo net-$((1))-up',
    '(cd /data; iozone -o -r 4k -s 1m -i 0 -f t1 >/dev/null; echo one) & disk1=$!',
    '(cd /data; iozone -e -r 64k -s 8m -i 0 -i 1 -f t2 >/dev/null; echo two) & disk2=$!',
    'dd if=/dev/zero bs=1M count=30 2>/dev/null | md5sum & sum=$!',
  ];
  running.child.stdin?.write(`${work.join('\n')}\n`);
  const client = join(dir, 'netperf');
  extractProgram(guest.initrd, 'netperf', client);
  await running.printed('net-1-up');
  const facts: Record<string, unknown> = {};
  const network = (async () => {
    for (const test of ['TCP_STREAM', 'TCP_MAERTS', 'TCP_RR']) {
      const words = ['-H', netns.guestIp, '-t', test, '-l', '1', '-P', '0', '-v', '0'];
      facts[test] = Number((await inside(netns, client, words)).trim());
    }
  })();
  const [typed] = await Promise.all([typeLines(running, context, 4), network]);
  running.child.stdin?.write('wait $disk1 $disk2 $sum\nexit\n');
  return { ...facts, ...typed };
}

async function inside(netns: Netns, file: string, words: readonly string[]): Promise<string> {
  const [command = '', ...prefix] = netns.prefix;
  const child = spawn(command, [...prefix, file, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 120_000);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${file} ${words.join(' ')} ended with ${code}: ${output}`);
  return output;
}
