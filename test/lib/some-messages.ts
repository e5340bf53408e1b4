// SPDX-License-Identifier: Apache-2.0
/** What messages of the link are made of. */
import { atIcount } from '../../src/base/position.ts';
import type { Terms, VmFacts } from '../../src/wire/hello.ts';
import type { Heartbeat } from '../../src/wire/messages.ts';

export const facts: VmFacts = {
  name: 'demo',
  qemuBuildId: 'aaaa',
  firmware: { 'bios-256k.bin': 'eeee' },
  configHash: 'cccc',
  disks: [{ name: 'disk.raw', bytes: 1n << 40n, xxh64: 0xffff_ffff_ffff_fff1n }],
  arbiter: 'dir:/shared/demo',
  durability: 'memory',
  protocol: 'lockstep',
  marks: [],
  epochs: 'never',
  host: 'hostB',
  agentVersion: '0.1.0',
};

export const terms: Terms = {
  vmId: Buffer.alloc(16, 3),
  term: 1,
  rtcBase: '2026-11-21T07:00:00',
  protocolName: 'lockstep',
  batchUsMax: 1000,
  heartbeatMs: 100,
  heartbeatMissed: 3,
  lagMsMax: 500,
  durability: 'disk',
  vmConfig: '{"name":"Ünïcode"}',
  qemuArgs: ['-m', '256M', ''],
};

export const beat: Heartbeat = {
  counter: 5n,
  sentAtNs: 6n,
  position: { point: atIcount(7n), vtimeNs: -8n },
  term: 1,
  state: 'standby',
  echoCounter: 4n,
  echoSentAtNs: 3n,
  visits: 99n,
};
