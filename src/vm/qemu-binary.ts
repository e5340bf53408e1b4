// SPDX-License-Identifier: Apache-2.0
/**
 * Which QEMU runs, and which build it is. Two sides, and a recording and its
 * replay, must have the same build: the guest sees its every detail.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  createReadStream,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { guestPaths, qemuPaths } from '#scripts/paths.mjs';
import { UnderstudyError } from '../base/errors.ts';
import { cacheRoot } from '../base/paths.ts';

export interface QemuBinary {
  readonly path: string;
  /** The folder for -L: SeaBIOS and option ROMs. */
  readonly firmwareDir: string;
  /**
   * Equal on two hosts exactly when they may share a log: the hash of all that
   * the binary was built from (a compiler may differ, what the guest sees not),
   * or, for a binary that this project did not build, the sha256 of its bytes.
   */
  readonly buildId: string;
  /** Version as `--version` says it: "10.0.13". */
  readonly version: string;
}

interface Identity {
  readonly sha256: string;
  readonly version: string;
}

/**
 * Finds the patched QEMU: UNDERSTUDY_QEMU if set, else the one that
 * `npm run bootstrap` built.
 * @throws UnderstudyError qemu-missing
 */
export async function findQemu(): Promise<QemuBinary> {
  const override = process.env.UNDERSTUDY_QEMU;
  const overridden = override !== undefined && override !== '';
  if (overridden) checkExecutable(override);
  const built = qemuPaths();
  if (built === undefined) {
    throw new UnderstudyError(
      'qemu-missing',
      'the patched QEMU is not built on this host: run `npm run bootstrap`',
    );
  }
  checkExecutable(built.binary);
  const firmwareDir = process.env.UNDERSTUDY_FIRMWARE_DIR ?? guestPaths()?.firmwareDir;
  if (firmwareDir === undefined) {
    throw new UnderstudyError(
      'qemu-missing',
      "the guest's firmware is not on this host: run `npm run bootstrap`",
    );
  }
  const { sha256, version } = await identify(built.binary);
  return {
    path: built.binary,
    firmwareDir,
    buildId: overridden ? sha256 : built.id,
    version,
  };
}

/**
 * Another build, to be compared with the one that recorded.
 * @throws UnderstudyError qemu-missing
 */
export async function otherQemu(path: string, reference: QemuBinary): Promise<QemuBinary> {
  checkExecutable(path);
  const { sha256, version } = await identify(path);
  return { ...reference, path, buildId: sha256, version };
}

function checkExecutable(path: string): void {
  try {
    accessSync(path, constants.X_OK);
  } catch (cause) {
    throw new UnderstudyError(
      'qemu-missing',
      `the patched QEMU is not at ${path}: run \`npm run bootstrap\` to build it ` +
        '(UNDERSTUDY_QEMU, if set, names another one)',
      { cause },
    );
  }
}

/** Hashing 40 MB at each start would cost 100 ms: cached by path, size and mtime. */
async function identify(path: string): Promise<Identity> {
  const stats = statSync(path, { bigint: true });
  const key = `${path}:${stats.size}:${stats.mtimeNs}:${stats.ino}`;
  const name = createHash('sha256').update(key).digest('hex').slice(0, 32);
  const file = join(cacheRoot(), 'qemu-id', `${name}.json`);
  try {
    const cached = JSON.parse(readFileSync(file, 'utf8')) as Identity;
    if (/^[0-9a-f]{64}$/.test(cached.sha256)) return cached;
  } catch {
    // not cached yet
  }
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  const identity = { sha256: hash.digest('hex'), version: versionOf(path) };
  try {
    mkdirSync(dirname(file), { recursive: true });
    const temporary = `${file}.${process.pid}`;
    writeFileSync(temporary, JSON.stringify(identity));
    renameSync(temporary, file);
  } catch {
    // a cache that cannot be written costs time only
  }
  return identity;
}

function versionOf(path: string): string {
  const run = spawnSync(path, ['--version'], { encoding: 'utf8' });
  const match = /version (\S+)/.exec(run.stdout ?? '');
  if (match?.[1] === undefined) {
    const why = run.error?.message ?? run.stderr.trim();
    throw new UnderstudyError('qemu-missing', `${path} does not run: ${why}`);
  }
  return match[1];
}
