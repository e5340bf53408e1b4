// SPDX-License-Identifier: Apache-2.0
/** The host checks, judged on injected facts. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { describe, gatherFacts, type HostFacts, type HostWork, judge } from '#scripts/checks.mjs';

const GOOD: HostFacts = {
  platform: 'linux',
  arch: 'x64',
  os: { id: 'debian', version: '12', codename: 'bookworm' },
  node: '20.20.2',
  isRoot: true,
  canMakeNetworks: true,
  hasDemoTaps: false,
  hasTun: true,
  tun: true,
  missingPackages: [],
  compiler: '12.2.0',
  cacheDir: '/home/u/.cache/understudy',
  cacheWritable: true,
  freeBytes: 20 * 2 ** 30,
  kvm: false,
  pmu: false,
};

const BUILD: HostWork = { build: true, demo: true };

const checks = suite('host checks');

checks('a good host has no problem, with root and packages to install or not', () => {
  assert.equal(judge(GOOD, BUILD), []);
  assert.equal(
    judge({ ...GOOD, missingPackages: ['g++', 'flex'], compiler: undefined }, BUILD),
    [],
  );
  assert.equal(
    judge({ ...GOOD, os: { id: 'debian', version: '13', codename: 'trixie' } }, BUILD),
    [],
  );
});

checks('a host where all is built may be any Linux, without root, compiler or space', () => {
  const facts: HostFacts = {
    ...GOOD,
    os: { id: 'ubuntu', version: '24.04', codename: 'noble' },
    isRoot: false,
    canMakeNetworks: false,
    compiler: undefined,
    freeBytes: 0,
  };
  assert.equal(judge(facts), []);
});

const cases: ReadonlyArray<readonly [string, Partial<HostFacts>, HostWork, string, RegExp]> = [
  ['another platform', { platform: 'darwin' }, {}, 'host-platform', /Linux x86_64/],
  ['another processor', { arch: 'arm64' }, {}, 'host-platform', /arm64/],
  ['another Node', { node: '22.1.0' }, {}, 'host-node', /Node 20/],
  [
    'another Debian',
    { os: { id: 'debian', version: '11', codename: 'bullseye' } },
    BUILD,
    'host-debian',
    /debian 11.*Debian 12/s,
  ],
  [
    'another distribution',
    { os: { id: '', version: '', codename: '' }, missingPackages: undefined },
    BUILD,
    'host-debian',
    /unknown/,
  ],
  [
    'packages missing without root',
    { isRoot: false, missingPackages: ['flex', 'bison'] },
    BUILD,
    'host-packages',
    /apt-get install flex bison/,
  ],
  ['no compiler', { compiler: undefined }, BUILD, 'host-compiler', /g\+\+/],
  ['a full disk', { freeBytes: 2 ** 30 }, BUILD, 'host-disk', /1\.0 GiB free.*XDG_CACHE_HOME/s],
  ['a cache nobody can write', { cacheWritable: false }, {}, 'host-cache', /XDG_CACHE_HOME/],
  ['no mirror', {}, { ...BUILD, debian: 'no route' }, 'host-mirror', /no route/],
  ['no registry', {}, { registry: 'timed out' }, 'host-registry', /timed out/],
  ['no right to make taps', { canMakeNetworks: false }, BUILD, 'host-root', /root/],
  ['no tun device', { hasTun: false, tun: false }, BUILD, 'host-tun', /modprobe tun/],
  ['a tun device of root', { tun: false }, BUILD, 'host-tun', /chmod 666 \/dev\/net\/tun/],
];

for (const [name, facts, work, code, text] of cases) {
  checks(`${name}: one problem, with its remedy`, () => {
    const problems = judge({ ...GOOD, ...facts }, work);
    assert.equal(
      problems.map((problem) => problem.code),
      [code],
    );
    assert.match(describe(problems), text);
  });
}

checks('an ordinary user plays the demo with taps that root has made', () => {
  const ordinary = { ...GOOD, isRoot: false, canMakeNetworks: false };
  assert.match(describe(judge(ordinary, BUILD)), /demo --make-network USER/);
  assert.equal(judge({ ...ordinary, hasDemoTaps: true }, BUILD), []);
});

checks('several problems are one message', () => {
  const bad = { ...GOOD, isRoot: false, missingPackages: ['meson'], freeBytes: 0 };
  const message = describe(judge(bad, { ...BUILD, debian: 'no route' }));
  for (const part of ['meson', 'GiB', 'no route']) assert.ok(message.includes(part), part);
});

checks('the facts of this host can be gathered', () => {
  const facts = gatherFacts();
  assert.is(facts.platform, 'linux');
  assert.ok(facts.freeBytes > 0);
});

checks.run();
