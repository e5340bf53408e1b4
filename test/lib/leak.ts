// SPDX-License-Identifier: Apache-2.0
/**
 * The leak finder: a VM recorded on one host and replayed on an unlike one, with a digest
 * before its first instruction and every few million after. Whatever of the host reaches the
 * guest makes them differ; then both are looked at where they first do.
 */
import { join } from 'node:path';
import { atIcount, nameOf } from '../../src/base/position.ts';
import { differenceLines } from '../../src/cli/bisect-report.ts';
import { type Answers, type Probe, readAnswers, writeProbes } from '../../src/replay/probes.ts';
import { lookAt } from '../../src/replay/state-diff.ts';
import { root, run, runJson } from './command.ts';
import { type Host, twoHosts } from './unlike-hosts.ts';

/** Positions compared between the last digest that was equal and the first that was not. */
const POSITIONS = 200n;

export interface LeakOptions {
  /** A folder of the VM's own, with its VM.toml in it. */
  readonly dir: string;
  readonly digestEvery: string;
  /** A leak planted in the second host's QEMU only (exitlog/verify/fault.c). */
  readonly fault?: string;
}

/** @returns null, or what differs: which page or device, and the bytes */
export async function findLeak({ dir, digestEvery, fault }: LeakOptions): Promise<string | null> {
  const recording = join(dir, 'recording');
  const { first, second } = twoHosts(dir, recording);
  const words = ['record', 'VM.toml', '--out', recording, '--no-console'];
  const made = await run([...words, '--digest-every', digestEvery], first.options);
  if (made.code !== 0) throw new Error(`record failed (${made.code}): ${made.stderr}`);
  const env = {
    ...second.options.env,
    ...(fault === undefined ? {} : { UNDERSTUDY_FAULT: fault }),
  };
  const other: Host = { ...second, options: { ...second.options, env } };
  const replayed = await runJson(['replay', other.recording, '--verify'], other.options);
  if (replayed.code === 0) return null;
  const error = replayed.json.error as Record<string, unknown> | undefined;
  if (error?.code !== 'divergence') throw new Error(`replay failed: ${replayed.stderr}`);
  const where = await nameLeak(dir, first, other, error);
  return `${String(error.message)}\n${where.join('\n')}`;
}

async function nameLeak(
  dir: string,
  first: Host,
  second: Host,
  error: Record<string, unknown>,
): Promise<string[]> {
  const end = BigInt(String(error.icount));
  const last = error.last_equal_digest as { icount?: unknown } | null;
  const begin = BigInt(String(last?.icount ?? 0));
  let looks = 0;
  const look = async (probes: readonly Probe[], host: Host): Promise<Answers> => {
    looks += 1;
    const file = join(dir, `look-${looks}`);
    writeProbes(file, probes);
    const program = join(root, 'test/lib/look.ts');
    const arguments_ = [host.recording, file, String(end + 1n)];
    await run(arguments_, {
      ...host.options,
      program: ['--import', import.meta.resolve('tsx'), program],
    });
    return readAnswers(file);
  };
  const both = (probes: readonly Probe[]): Promise<[Answers, Answers]> =>
    Promise.all([look(probes, first), look(probes, second)]);
  const step = (end - begin) / POSITIONS + 1n;
  const probes: Probe[] = [];
  for (let at = begin; at < end; at += step) probes.push({ verb: 'digest', point: atIcount(at) });
  probes.push({ verb: 'digest', point: atIcount(end) });
  const [wanted, got] = await both(probes);
  const differs = wanted.digests.find(
    (digest, index) => digest.value !== got.digests[index]?.value,
  );
  const found = await lookAt(differs?.at.point ?? atIcount(end), (asked, which) =>
    look(asked, which === 'reference' ? first : second),
  );
  if (found === null) return ['the second host ends before it can be looked at'];
  return [`at ${nameOf(found.at.point)}:`, ...differenceLines(found)];
}
