// SPDX-License-Identifier: Apache-2.0
/** Where a run takes place, and of what: facts for the head of its results. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { projectRoot } from '../../src/base/paths.ts';
import { findQemu } from '../../src/vm/qemu-binary.ts';
import { plainQemu } from '../peer-qemu.ts';
import type { HostFacts } from '../results.ts';

const run = promisify(execFile);

export async function hostFacts(): Promise<HostFacts> {
  const all = cpus();
  return {
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    memory_bytes: totalmem(),
    kernel: release(),
    os: osName(),
    node: process.version,
    qemu: await qemuVersions(),
    ...(await commit()),
  };
}

function osName(): string {
  try {
    const text = readFileSync('/etc/os-release', 'utf8');
    return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text)?.[1] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

async function qemuVersions(): Promise<Record<string, string>> {
  const ours = await findQemu();
  const versions: Record<string, string> = {
    ours: `qemu-system-x86_64 ${ours.version}, build ${ours.buildId.slice(0, 16)}`,
  };
  try {
    const { stdout } = await run(await plainQemu(), ['--version']);
    const version = /version (\S+)/.exec(stdout)?.[1] ?? 'unknown';
    versions.unpatched = `qemu-system-x86_64 ${version}`;
  } catch {
    // the systems that would run it say why there is none
  }
  return versions;
}

/** "unknown" outside of a git checkout. */
async function commit(): Promise<{ commit: string; dirty: boolean }> {
  const git = async (...words: string[]): Promise<string> =>
    (await run('git', ['-C', projectRoot(), ...words])).stdout.trim();
  try {
    const head = await git('rev-parse', 'HEAD');
    return { commit: head, dirty: (await git('status', '--porcelain')) !== '' };
  } catch {
    return { commit: 'unknown', dirty: false };
  }
}
