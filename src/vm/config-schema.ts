// SPDX-License-Identifier: Apache-2.0
/** The keys of VM.toml, their ranges and defaults (docs/vm-toml.md is for people). */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { NO_ACCESS } from '../arbiter/arbiter.ts';
import { ARBITER_HINT, isArbiterUrl } from '../arbiter/registry.ts';
import { DISK_MODES, INTERVAL_MS_MAX } from '../epochs/protocol.ts';
import { DEFAULT_PROTOCOL, PROTOCOL_NAMES, QUORUM } from '../epochs/registry.ts';
import { ACCEL_NAMES, DEFAULT_ACCEL } from './accel/registry.ts';
import {
  DIGEST_AT_CUTS,
  DIGEST_EVERY_DEFAULT,
  DIGEST_EVERY_HINT,
  parseDigestEvery,
} from './digest-every.ts';
import { HISTORY_HINT, parseHistory } from './history-span.ts';

/** What a guest may be made of; whitelist.ts has what else people try, and why not. */
export const MACHINES = ['pc', 'q35'] as const;
export const NIC_MODELS = ['virtio-net-pci', 'e1000'] as const;
export const DISK_INTERFACES = ['virtio-blk', 'virtio-scsi', 'ide', 'ahci'] as const;
export const VCPUS_MAX = 8;

const MIB = 2 ** 20;
const SIZES: Readonly<Record<string, number>> = { M: MIB, G: 1024 * MIB };

const memory = z.string('must be text such as "256M" or "1G"').transform((text, context) => {
  const match = /^([1-9]\d{0,6})([MG])$/.exec(text);
  const bytes = Number(match?.[1] ?? 0) * (SIZES[match?.[2] ?? ''] ?? 0);
  if (bytes < 32 * MIB || bytes > 64 * 1024 * MIB) {
    context.addIssue(`"${text}" must be text such as "256M" or "1G", from 32M to 64G`);
    return z.NEVER;
  }
  return bytes;
});

const address = z.string('must be text such as "10.0.0.1:7700"').transform((text, context) => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? -1);
  if (match === null || port > 65535) {
    context.addIssue(`"${text}" must be HOST:PORT, such as "10.0.0.1:7700" or "[::1]:7700"`);
    return z.NEVER;
  }
  return { host: match[1] ?? match[2] ?? '', port };
});

const mac = z
  .string('must be text such as "52:54:00:12:34:56"')
  .regex(/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/, 'must be a mac such as "52:54:00:12:34:56"')
  .refine(
    (text) => (Number.parseInt(text.slice(0, 2), 16) & 1) === 0,
    'must not be a multicast mac',
  )
  .transform((text) => text.toLowerCase());

const disk = z.strictObject({
  image: z.string('must be the path of the image').min(1, 'must not be empty'),
  format: z.literal('raw', 'must be "raw"').default('raw'),
  interface: z.enum(DISK_INTERFACES, `must be ${orList(DISK_INTERFACES)}`).default('virtio-blk'),
});

const nic = z
  .strictObject({
    model: z.enum(NIC_MODELS, `must be ${orList(NIC_MODELS)}`).default('virtio-net-pci'),
    mac: mac.optional(),
    tap: z
      .string('must be the name of a tap interface')
      .regex(/^[A-Za-z0-9_.-]{1,15}$/, 'must be an interface name of at most 15 characters')
      .optional(),
    user: z.literal(true, 'can only be true; leave it out otherwise').optional(),
  })
  .refine((value) => (value.tap === undefined) !== (value.user === undefined), {
    message: 'needs either tap = "NAME" or user = true, and not both',
  });

function wholeNumber(lowest: number, highest: number) {
  const message = `must be a whole number from ${lowest} to ${highest}`;
  return z.int(message).min(lowest, message).max(highest, message);
}

const digestEvery = z.string(`must be ${DIGEST_EVERY_HINT}`).transform((text, context) => {
  const instructions = text === 'cut' ? DIGEST_AT_CUTS : parseDigestEvery(text);
  if (instructions !== null) return instructions;
  context.addIssue(`"${text}" must be ${DIGEST_EVERY_HINT}`);
  return z.NEVER;
});

const history = z.string(`must be ${HISTORY_HINT}`).transform((text, context) => {
  const ms = parseHistory(text);
  if (ms !== null) return ms;
  context.addIssue(`"${text}" must be ${HISTORY_HINT}`);
  return z.NEVER;
});

const etcd = z
  .strictObject({
    ca: file('the certificate of a CA (PEM)').optional(),
    cert: file("this side's certificate (PEM)").optional(),
    key: file('its private key (PEM)').optional(),
    user: z.string('must be the name of a user of etcd').min(1, 'must not be empty').optional(),
    password_file: file("a file with that user's password").optional(),
    prefix: z.string('must be text').min(1, 'must not be empty').default(NO_ACCESS.prefix),
    insecure_plaintext: z.boolean('must be true or false').default(false),
  })
  .refine((value) => (value.cert === undefined) === (value.key === undefined), {
    message: 'needs both cert and key, or neither',
  })
  .refine((value) => (value.user === undefined) === (value.password_file === undefined), {
    message: 'needs both user and password_file, or neither',
  });

const helper = z
  .array(z.string('must be text'), 'must be a list of text: a program and its arguments')
  .min(1, 'must name a program')
  .refine(([program = '']) => isAbsolute(program), {
    message: 'must begin with the absolute path of a program (there is no shell, and no PATH)',
  });

function file(what: string) {
  return z.string(`must be the path of ${what}`).min(1, 'must not be empty');
}

const tls = z.strictObject({
  ca: file('the certificate of a CA (PEM)'),
  cert: file("this side's certificate (PEM)"),
  key: file('its private key (PEM)'),
  crl: file('a list of revoked certificates (PEM)').optional(),
});

const PROTOCOLS = [...PROTOCOL_NAMES, QUORUM] as const;

const replicationKeys = z.strictObject({
  primary: address.optional(),
  backup: address.optional(),
  replicas: z.array(address, 'must be a list of HOST:PORT').optional(),
  witness: z.boolean('must be true or false').default(false),
  protocol: z.enum(PROTOCOLS, `must be ${orList(PROTOCOLS)}`).default(DEFAULT_PROTOCOL),
  epoch_instructions: wholeNumber(1000, 1e9).default(1_000_000),
  interval_ms: wholeNumber(5, INTERVAL_MS_MAX).default(25),
  interval_ms_max: wholeNumber(5, INTERVAL_MS_MAX).optional(),
  epoch_pages_max: wholeNumber(64, 2 ** 24).optional(),
  output_wait_us_max: wholeNumber(100, 10_000_000).default(1000),
  disk: z.enum(DISK_MODES, `must be ${orList(DISK_MODES)}`).default('blocks'),
  arbiter: z
    .string('must be text such as "dir:/shared/demo"')
    .refine(isArbiterUrl, ARBITER_HINT)
    .optional(),
  etcd: etcd.optional(),
  fence_command: helper.optional(),
  on_failover: helper.optional(),
  helper_timeout_s: wholeNumber(1, 3600).default(30),
  heartbeat_ms: wholeNumber(10, 10_000).default(100),
  heartbeat_missed: wholeNumber(1, 100).default(3),
  stuck_ms_max: wholeNumber(100, 3_600_000).default(1000),
  unprotected: z
    .enum(['run', 'hold'], 'must be "run" (alone) or "hold" (outputs, until there is a backup)')
    .default('run'),
  lag_ms_max: wholeNumber(10, 60_000).default(100),
  durability: z.enum(['memory', 'disk'], 'must be "memory" or "disk"').default('memory'),
  batch_us_max: wholeNumber(50, 100_000).default(1000),
  log_mib_max: wholeNumber(8, 2 ** 30).default(8192),
  digest_every: digestEvery.default(DIGEST_EVERY_DEFAULT),
  history: history.default(0),
  on_disk_error: z
    .enum(
      ['report', 'stop'],
      'must be "report" (to the guest) or "stop" (the guest: the backup goes on, or there is room)',
    )
    .default('stop'),
  tls: tls.optional(),
  insecure_plaintext: z.boolean('must be true or false').default(false),
});
/** Keys of pairs, which replicas have no use for: they elect who leads. */
const OF_PAIRS = ['primary', 'backup', 'arbiter', 'etcd', 'fence_command', 'on_failover'] as const;

type FileReplication = z.output<typeof replicationKeys>;

/** A pair is asked for one address, replicas for three or five. */
function checkPlaces(
  it: FileReplication,
  issue: (key: keyof FileReplication, message: string) => void,
): void {
  if (it.protocol !== QUORUM) {
    if (it.primary === undefined) issue('primary', 'must be text such as "10.0.0.1:7700"');
    if (it.replicas !== undefined) issue('replicas', `is for protocol = "${QUORUM}" alone`);
    if (it.witness) issue('witness', `is for protocol = "${QUORUM}" alone`);
    return;
  }
  for (const key of OF_PAIRS) {
    if (it[key] !== undefined) issue(key, `is not for protocol = "${QUORUM}": leave it out`);
  }
  if (it.unprotected !== 'run') {
    issue('unprotected', `is not for protocol = "${QUORUM}": without a majority no output leaves`);
  }
  const { replicas = [] } = it;
  const texts = replicas.map(({ host, port }) => `${host}:${port}`);
  if (texts.length !== 3 && texts.length !== 5) {
    issue('replicas', `must be 3 or 5 addresses, and ${texts.length} are there`);
  }
  if (new Set(texts).size < texts.length) issue('replicas', 'has one address twice');
}

const replicationOfAll = replicationKeys.superRefine((it, context) =>
  checkPlaces(it, (key, message) => {
    context.addIssue({ code: 'custom', path: [key], message });
  }),
);
const replication = replicationOfAll.refine(
  (it) => it.tls === undefined || !it.insecure_plaintext,
  {
    message: 'has [replication.tls] and insecure_plaintext = true: take one of them out',
  },
);

const onFailure = z.enum(['report', 'reset'], 'must be "report" or "reset" (the guest)');
const probe = address.refine(({ port }) => port > 0, 'must name a port from 1 to 65535');
const guard = z.strictObject({
  enabled: z.boolean('must be true or false').default(true),
  agent: z.boolean('must be true or false').default(true),
  silence_s: wholeNumber(2, 86_400).default(10),
  on_silence: onFailure.default('report'),
  probe: z
    .union([probe.transform((one) => [one]), z.array(probe).max(16, 'at most 16')], {
      error: 'must be HOST:PORT, such as "10.0.0.5:6379", or a list of them',
    })
    .default([]),
  probe_every_ms: wholeNumber(100, 3_600_000).default(1000),
  probe_timeout_ms: wholeNumber(50, 600_000).default(1000),
  probe_failures: wholeNumber(1, 1000).default(5),
  on_probe_failure: onFailure.default('report'),
  boot_s: wholeNumber(1, 86_400).default(120),
  resets_max: wholeNumber(0, 1000).default(3),
});

const qemu = z.strictObject({
  args: z.array(z.string('must be text'), 'must be a list of text').default([]),
});

export const fileSchema = z.strictObject({
  name: z
    .string('must be given: the name of the VM')
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/,
      'must be letters, digits, "_", "." or "-", at most 63, starting with a letter or digit',
    ),
  memory: memory.default(256 * MIB),
  machine: z.enum(MACHINES, `must be ${orList(MACHINES)}`).default('pc'),
  vcpus: z
    .int(`must be a whole number from 1 to ${VCPUS_MAX}`)
    .min(1, `must be a whole number from 1 to ${VCPUS_MAX}`)
    .max(VCPUS_MAX, `must be a whole number from 1 to ${VCPUS_MAX}`)
    .default(1),
  accel: z.enum(ACCEL_NAMES, `must be ${orList(ACCEL_NAMES)}`).default(DEFAULT_ACCEL),
  kernel: z.string('must be the path of a kernel').min(1, 'must not be empty').optional(),
  initrd: z.string('must be the path of an initrd').min(1, 'must not be empty').optional(),
  append: z.string('must be text').optional(),
  rng: z.boolean('must be true or false').default(true),
  vga: z.boolean('must be true or false').default(false),
  disk: z.array(disk, 'must be written as [[disk]]').max(8, 'at most 8').default([]),
  nic: z.array(nic, 'must be written as [[nic]]').max(4, 'at most 4').default([]),
  replication: replication.optional(),
  guard: guard.optional(),
  qemu: qemu.default({ args: [] }),
});

function orList(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(' or ');
}

export type FileConfig = z.output<typeof fileSchema>;

/** The known keys of each table, for "the nearest known key". */
export const KNOWN_KEYS: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(fileSchema.shape),
  disk: Object.keys(disk.shape),
  nic: Object.keys(nic.shape),
  replication: Object.keys(replicationKeys.shape),
  'replication.etcd': Object.keys(etcd.shape),
  'replication.tls': Object.keys(tls.shape),
  guard: Object.keys(guard.shape),
  qemu: Object.keys(qemu.shape),
};
