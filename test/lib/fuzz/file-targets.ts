// SPDX-License-Identifier: Apache-2.0
/** Files that somebody else may have made: VM.toml, packed recordings, what lies beside images. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { parseHolder } from '../../../src/arbiter/holder.ts';
import { parseManifest } from '../../../src/checkpoint/manifest.ts';
import { describeReport, parseReport, reportDetails } from '../../../src/log/divergence.ts';
import { readRetained } from '../../../src/recording/retained.ts';
import { parseConfig } from '../../../src/vm/config.ts';
import { generationFile, readGeneration } from '../../../src/vm/generation.ts';
import { mutateJson, mutateLines } from './mutate.ts';
import { PACK_TARGET } from './pack-target.ts';
import type { Target } from './target.ts';

// Where a sync takes no time.
const dir = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'understudy-fuzz-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

const VM_TOML = `name = "demo"
memory = "512M"
vcpus = 2
kernel = "vmlinuz"
append = "console=ttyS0"
[[disk]]
image = "disk.raw"
[[nic]]
mac = "52:54:00:AB:34:56"
tap = "tap0"
[replication]
primary = "10.0.0.1:7700"
backup = "[fe80::2]:7701"
protocol = "remus"
arbiter = "etcd:https://a:2379,https://b:2379"
[replication.tls]
ca = "tls/ca.pem"
cert = "tls/cert.pem"
key = "/etc/shop.key"
[replication.etcd]
ca = "ca.pem"
prefix = "/pairs/"
[qemu]
args = ["-cpu", "Nehalem,+rdrand", "-smbios", "type=1,serial=1"]
`;

const TOML_WORDS = [
  '"',
  '[',
  ']',
  '=',
  ',',
  '[[nic]]',
  '[[disk]]',
  '[qemu]',
  '[replication]',
  'nan',
  '-1',
  '1e400',
  '{}',
  '[]',
  'true',
  '"kemari"',
  '"lockstep"',
  '"tcg-multi"',
  '"dir:x"',
  '"none"',
  '9007199254740993',
  '"\\u0000"',
  '"1T"',
  '"-M"',
  '1979-05-27',
  '__proto__',
  'constructor',
  "'''",
  '"a:99999"',
  '0x7fffffff',
];

const config: Target = {
  name: 'vm-toml',
  seeds: () => [Buffer.from(VM_TOML), Buffer.from('name = "a"\nkernel = "k"\n')],
  mutate: mutateLines(TOML_WORDS),
  run: (input) => parseConfig(input.toString('utf8'), '/vms/demo/VM.toml'),
};

/** As QEMU writes it: the checksum of all before it. */
function sealManifest(text: string): Buffer {
  const open = text.replace(/,"checksum":"[0-9a-f]{8}"\}\n?$/, '').replace(/\}$/, '');
  return Buffer.from(`${open},"checksum":"${crc32(open).toString(16).padStart(8, '0')}"}\n`);
}

const manifest: Target = {
  name: 'manifest',
  seeds: () => [
    sealManifest(
      JSON.stringify({
        format: 3,
        icount: '5',
        vtime_ns: '6',
        ordinal: '7',
        kind: 'full',
        parent: null,
        bytes: 8,
        digest: '0123456789abcdef',
        created_at: 'now',
        data_offset: '9',
        pause_ns: 1,
        devices_ns: 1,
        files: [{ name: 'ram', bytes: 8, crc32: '00000000' }],
      }),
    ),
  ],
  mutate: (seed, other, random) =>
    sealManifest(mutateJson(seed.subarray(0, -1), other, random).toString('utf8')),
  run: (input) => parseManifest(input.toString('utf8')),
  // A reason, for whoever takes an older one instead.
  refusesBy: (error) => error instanceof Error && /^(Zod|Syntax)?Error$/.test(error.name),
};

const besideFile =
  (name: string, read: (path: string) => unknown) =>
  (input: Buffer): unknown => {
    writeFileSync(join(dir, name), input);
    return read(join(dir, name));
  };

const generation: Target = {
  name: 'generation',
  seeds: () => [
    json({
      format: 1,
      name: 'demo',
      vm_id: 'ab'.repeat(16),
      term: 1,
      state: 'live',
      instance: 'x',
      generation: 2,
      host: 'here',
      at: 'now',
    }),
  ],
  mutate: mutateJson,
  run: besideFile(generationFile('disk'), (path) =>
    readGeneration(path.replace(/\.generation$/, '')),
  ),
};

const retained: Target = {
  name: 'retained',
  seeds: () => [json({ format: 1, from_icount: '5', from_segment: 2, console_from: 3 })],
  mutate: mutateJson,
  run: besideFile('retained.json', readRetained),
};

const holder: Target = {
  name: 'holder',
  seeds: () => [
    json({
      role: 'primary',
      name: 'demo',
      host: 'here',
      pid: 5,
      instance: 'x',
      powerOn: 'ab'.repeat(16),
      term: 3,
      claimedAt: 'now',
    }),
  ],
  mutate: mutateJson,
  run: (input) => parseHolder(input.toString('utf8')),
  refusesBy: (error) => error instanceof Error && /is damaged$/.test(error.message),
};

/** What a QEMU says of itself at its end: it may be a guest's by then. */
const report: Target = {
  name: 'qemu-report',
  seeds: () => [
    json({
      reason: 'x',
      icount: '5',
      vtimeNs: '6',
      lastEqualDigest: { icount: '1', vtimeNs: '2' },
      parts: { cpu: ['0', '1'] },
      expected: { ordinal: '1', kind: 'NET_IN', icount: '5', vtimeNs: '6' },
    }),
  ],
  mutate: mutateJson,
  run: (input) => {
    const read = parseReport(input.toString('utf8'));
    return read === null ? 'none' : [describeReport(read), reportDetails(read)];
  },
};

export const FILE_TARGETS: readonly Target[] = [
  config,
  PACK_TARGET,
  manifest,
  generation,
  retained,
  holder,
  report,
];
