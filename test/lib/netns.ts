// SPDX-License-Identifier: Apache-2.0
/** A network namespace with one tap in it, for a guest and its client. */
import { execFileSync } from 'node:child_process';

export interface Netns {
  /** Words that run a command inside. */
  readonly prefix: readonly string[];
  readonly tap: string;
  /** The host's end of the tap, and the address for the guest. */
  readonly hostIp: string;
  readonly guestIp: string;
  remove(): void;
}

/** Null when this host or user cannot make one. */
export function makeNetns(label: string): Netns | null {
  const name = `us-${label}-${process.pid}`;
  const ip = (...words: string[]): void => {
    execFileSync('ip', words, { stdio: 'ignore' });
  };
  try {
    ip('netns', 'add', name);
  } catch {
    return null;
  }
  const inside = (...words: string[]): void => ip('-n', name, ...words);
  const remove = (): void => ip('netns', 'delete', name);
  try {
    inside('link', 'set', 'lo', 'up');
    inside('tuntap', 'add', 'dev', 'tap0', 'mode', 'tap');
    inside('addr', 'add', '10.77.0.1/24', 'dev', 'tap0');
    inside('link', 'set', 'tap0', 'up');
  } catch {
    remove();
    return null;
  }
  return {
    prefix: ['ip', 'netns', 'exec', name],
    tap: 'tap0',
    hostIp: '10.77.0.1',
    guestIp: '10.77.0.2',
    remove,
  };
}

const FLOOD =
  "const s=require('dgram').createSocket('udp4');s.bind(()=>{s.setBroadcast(true);let n=0;" +
  'const next=()=>{if(n===+process.argv[1])return s.close();' +
  "s.send(Buffer.alloc(+process.argv[2],n++),9,'10.77.0.255',()=>setImmediate(next))};next()})";

/** Sends `count` broadcasts of `bytes` bytes to everyone at the tap. */
export function floodBroadcast(netns: Netns, count: number, bytes: number): void {
  const [file = '', ...words] = [...netns.prefix, process.execPath];
  execFileSync(file, [...words, '-e', FLOOD, String(count), String(bytes)]);
}
