// SPDX-License-Identifier: Apache-2.0
/** An ssh session with a protected Debian guest whose primary dies while somebody types. */
import { Progress } from '../../scripts/lib/progress.mjs';
import { testDebian } from '../../scripts/steps/test-debian.mjs';
import { makeNetwork } from '../../src/lab/netns.ts';
import { Random } from '../../src/lab/random.ts';
import { sleep } from './fake-vm-pair.ts';
import { SshSession } from './ssh-session.ts';
import { TwoHosts } from './two-hosts.ts';

export interface SshFailoverOptions {
  /** Scratch folder of its own. */
  readonly dir: string;
  readonly protocol: string;
  readonly seed: number;
  /** Seconds of typing before and after the primary's death. */
  readonly secondsBefore: number;
  readonly secondsAfter: number;
}

export interface SshFailover {
  readonly protocol: string;
  readonly seed: number;
  /** From power-on to sshd's start, ms. */
  readonly boot_ms: number;
  /** Until the shell answered, ms. */
  readonly login_ms: number;
  readonly lines: number;
  readonly killed_after_ms: number;
  /** The longest time without an echo: before the death, and from then on. */
  readonly gap_before_ms: number;
  readonly gap_ms: number;
  /** From typing to echo while both were alive, the median. */
  readonly echo_ms: number;
  readonly detect_ms: number | null;
  /** From the detection to live. */
  readonly takeover_ms: number | null;
  /** '' when the session went on and each character came back once. */
  readonly problem: string;
}

/** What a client may notice of a take-over (Coleșa et al., "in under one second"). */
export const GAP_MS_MAX = 1000;
const PROTECTED_MS = 120_000;
const BOOT_MS = 600_000;
const LIVE_MS = 20_000;
const SPREAD_MS = 1000;
const nowMs = (): number => performance.timeOrigin + performance.now();

/** @throws Error when the guest does not come up, or nobody gets in */
export async function sshFailover(options: SshFailoverOptions): Promise<SshFailover> {
  const { dir, protocol } = options;
  const guest = await testDebian(new Progress({ quietDone: true }));
  const network = makeNetwork();
  const hosts = new TwoHosts({
    dir,
    network,
    ...guest,
    replication: [`protocol = "${protocol}"`],
  });
  let session: SshSession | null = null;
  try {
    const fromMs = nowMs();
    hosts.start('a', 'primary');
    hosts.start('b', 'backup');
    await hosts.until('a', 'protected', PROTECTED_MS);
    await hosts.said('a', 'Started ssh.service', BOOT_MS);
    const upMs = nowMs();
    session = await SshSession.open(network.prefix, guest, network.guestAddress);
    const times = { boot_ms: round(upMs - fromMs), login_ms: round(nowMs() - upMs) };
    return { ...times, ...(await play(options, hosts, session)) };
  } finally {
    session?.kill();
    await hosts.destroy();
    network.remove();
  }
}

async function play(
  { protocol, seed, secondsBefore, secondsAfter }: SshFailoverOptions,
  hosts: TwoHosts,
  session: SshSession,
): Promise<Omit<SshFailover, 'boot_ms' | 'login_ms'>> {
  const beforeMs = secondsBefore * 1000 + new Random(seed).below(SPREAD_MS);
  const shell = 'echo $$ $kept $SSH_CONNECTION';
  await session.ask('kept=kept-by-the-shell');
  const whose = await session.ask(shell);
  let killedMs = 0;
  const typed = await session.type(async () => {
    await sleep(beforeMs);
    killedMs = nowMs();
    await hosts.crash('a');
    await hosts.until('b', 'needs-backup', LIVE_MS);
    await sleep(secondsAfter * 1000);
  });
  const { failover } = await hosts.until('b', 'needs-backup', LIVE_MS);
  const problems = [typed.problem];
  if (typed.problem === '') {
    const now = await session.ask(shell);
    if (now !== whose) problems.push(`its shell was "${whose}", and is "${now}"`);
    const code = await session.leave();
    if (code !== 0) problems.push(`ssh ended with ${code}`);
  }
  const gapMs = typed.gapMs(killedMs);
  if (gapMs > GAP_MS_MAX) problems.push(`no echo for ${round(gapMs)} ms`);
  return {
    protocol,
    seed,
    lines: typed.lines,
    killed_after_ms: beforeMs,
    gap_before_ms: round(typed.gapMs(0, killedMs)),
    gap_ms: round(gapMs),
    echo_ms: round(typed.medianMs(killedMs)),
    detect_ms: rounded(failover?.detect_ms),
    takeover_ms: rounded(failover?.total_ms),
    problem: problems.filter((one) => one !== '').join('; '),
  };
}

function rounded(ms: number | null | undefined): number | null {
  return ms === null || ms === undefined ? null : round(ms);
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
