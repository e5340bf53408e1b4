// SPDX-License-Identifier: Apache-2.0
// What this host must have.  Facts are gathered in one place and judged in
// another, so that the judgement can be tested with any facts.
//
// `npm run bootstrap` refuses to begin while there are problems (exit code 13);
// `understudy doctor` prints the same ones.

import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { osRelease } from './lib/apt.mjs';
import { cacheDir } from './lib/cache.mjs';
import { missingPackages } from './lib/host-packages.mjs';
import { tryOutput } from './lib/run.mjs';
import { demoTaps } from './paths.mjs';

/** The exit code of "this host cannot do it" (src/base/errors.ts has the registry). */
export const EXIT_HOST = 13;

const GIB = 1024 ** 3;
const BUILD_BYTES = 6 * GIB;
const SUPPORTED_DEBIAN = ['12', '13'];
const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;

/** Everything {@link judge} looks at; nothing here touches the network. */
export function gatherFacts() {
  const capabilities = effectiveCapabilities();
  return {
    platform: process.platform,
    arch: process.arch,
    os: existsSync('/etc/os-release') ? osRelease() : { id: '', version: '', codename: '' },
    node: process.versions.node,
    isRoot: process.getuid?.() === 0,
    canMakeNetworks:
      hasCapability(capabilities, CAP_NET_ADMIN) && hasCapability(capabilities, CAP_SYS_ADMIN),
    hasDemoTaps: hasInterfaces(Object.values(demoTaps)),
    hasTun: existsSync('/dev/net/tun'),
    tun: isWritable('/dev/net/tun'),
    missingPackages: missingPackages(),
    compiler: tryOutput('g++', ['-dumpfullversion']),
    cacheDir: cacheDir(),
    cacheWritable: isWritable(existingParent(cacheDir())),
    freeBytes: freeBytes(cacheDir()),
    kvm: isWritable('/dev/kvm'),
    pmu: existsSync('/sys/bus/event_source/devices/cpu/type'),
  };
}

/**
 * @param facts see {@link gatherFacts}
 * @param work what is still to be done:
 *   `{ build, fetch, debian?, registry?, demo? }`; `debian` and `registry` are the
 *   reasons why a mirror could not be reached.
 * @returns {{ code: string, problem: string, remedy: string }[]}
 */
export function judge(facts, work = {}) {
  const problems = [];
  const add = (code, problem, remedy) => problems.push({ code, problem, remedy });
  if (facts.platform !== 'linux' || facts.arch !== 'x64') {
    add(
      'host-platform',
      `this is ${facts.platform} on ${facts.arch}; the replayed VM is an x86-64 one on Linux`,
      'use a Linux x86_64 host',
    );
  }
  const major = Number(facts.node.split('.')[0]);
  if (major !== 20) {
    add('host-node', `this is Node ${facts.node}`, 'use Node 20 (the newest 20.x)');
  }
  const isDebian = facts.os.id === 'debian' && SUPPORTED_DEBIAN.includes(facts.os.version);
  if (work.build && !isDebian) {
    const name = `${facts.os.id || 'unknown'} ${facts.os.version}`.trim();
    add(
      'host-debian',
      `this is ${name}; QEMU and the guest are built from Debian's packages`,
      'use Debian 12 (bookworm) or 13 (trixie), a container is enough',
    );
  }
  judgePackages(facts, work, isDebian, add);
  if (work.build && facts.freeBytes < BUILD_BYTES) {
    const free = (facts.freeBytes / GIB).toFixed(1);
    add(
      'host-disk',
      `${facts.cacheDir} has ${free} GiB free; the build needs ${BUILD_BYTES / GIB}`,
      'free some space, or set XDG_CACHE_HOME to a folder that has it',
    );
  }
  if (!facts.cacheWritable) {
    add(
      'host-cache',
      `${facts.cacheDir} cannot be written`,
      'make it writable, or set XDG_CACHE_HOME to a folder that is',
    );
  }
  if (work.debian) {
    add(
      'host-mirror',
      `the Debian mirror cannot be reached: ${work.debian}`,
      "connect this host, or point apt's own sources at a mirror it can reach",
    );
  }
  if (work.registry) {
    add(
      'host-registry',
      `the npm registry cannot be reached: ${work.registry}`,
      'connect this host, or set `registry` in your ~/.npmrc',
    );
  }
  if (work.demo) judgeDemo(facts, add);
  return problems;
}

function judgePackages(facts, work, isDebian, add) {
  const missing = facts.missingPackages ?? [];
  if (isDebian && missing.length > 0 && !facts.isRoot) {
    add(
      'host-packages',
      `Debian packages are missing, and only root can install them: ${missing.join(' ')}`,
      `run once as root: npm run bootstrap (or: apt-get install ${missing.join(' ')})`,
    );
  }
  // With root on Debian the compiler comes with the packages.
  const comes = isDebian && missing.includes('g++');
  if (work.build && facts.compiler === undefined && !comes) {
    add('host-compiler', 'there is no C++ compiler (g++)', 'install g++ and put it on the PATH');
  }
}

function judgeDemo(facts, add) {
  if (!facts.canMakeNetworks && !facts.hasDemoTaps) {
    add(
      'host-root',
      'network namespaces and taps need root (CAP_NET_ADMIN and CAP_SYS_ADMIN)',
      'run it as root, or in a container with --privileged; or make the taps as root once, ' +
        '`bin/understudy demo --make-network USER`, and run it as that user',
    );
  }
  if (!facts.tun) {
    add(
      'host-tun',
      facts.hasTun ? '/dev/net/tun can be opened by root alone' : '/dev/net/tun is missing',
      facts.hasTun
        ? 'as root: chmod 666 /dev/net/tun (opening it alone gives nobody anything)'
        : 'load the tun module (modprobe tun), or give the container --device /dev/net/tun',
    );
  }
}

/** One message for all problems. */
export function describe(problems) {
  const lines = problems.flatMap(({ problem, remedy }) => [`  - ${problem}`, `    ${remedy}`]);
  return ['This host cannot run Understudy yet:', ...lines].join('\n');
}

function hasInterfaces(names) {
  try {
    const here = readFileSync('/proc/self/net/dev', 'utf8');
    return names.every((name) => here.includes(`${name}:`));
  } catch {
    return false;
  }
}

function effectiveCapabilities() {
  try {
    const status = readFileSync('/proc/self/status', 'utf8');
    return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  } catch {
    return 0n;
  }
}

function hasCapability(set, bit) {
  return ((set >> bit) & 1n) === 1n;
}

function isWritable(path) {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function existingParent(path) {
  let at = path;
  while (!existsSync(at) && at !== dirname(at)) at = dirname(at);
  return at;
}

function freeBytes(path) {
  const { bavail, bsize } = statfsSync(existingParent(path));
  return bavail * bsize;
}
