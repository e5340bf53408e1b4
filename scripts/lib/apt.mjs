// SPDX-License-Identifier: Apache-2.0
// Debian packages through a private sources list and a private lists directory,
// so that the user's own apt configuration stays as it is.

import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir, readJson, writeAtomic } from './cache.mjs';
import { output, run, StepError, tryOutput } from './run.mjs';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const GENERIC_MIRROR = 'http://deb.debian.org/debian';
const GENERIC_SECURITY = 'http://deb.debian.org/debian-security';
const LISTS_AGE_MS_MAX = 24 * 3600 * 1000;

/**
 * The mirrors this machine already uses for Debian; the generic ones otherwise.
 * @param {string} codename of the host's release
 * @param {string} targets lines `URI|release|component|origin` from apt itself
 */
export function mirrorsFrom(codename, targets) {
  const found = { main: GENERIC_MIRROR, security: GENERIC_SECURITY };
  for (const line of targets.split('\n')) {
    const [uri, release, component, origin] = line.split('|');
    if (!uri || component !== 'main' || (origin !== '' && origin !== 'Debian')) continue;
    if (release === codename) found.main = uri.replace(/\/$/, '');
    if (release === `${codename}-security`) found.security = uri.replace(/\/$/, '');
  }
  return found;
}

export function hostMirrors(codename) {
  const format = '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)';
  const targets = tryOutput('apt-get', [
    'indextargets',
    '--format',
    format,
    'Created-By: Packages',
  ]);
  return mirrorsFrom(codename, targets ?? '');
}

/** Lines of a private sources list. */
export function sourceLines(mirrors, { type = 'deb', codename, components, backports = false }) {
  const signed = existsSync(KEYRING) ? ` [signed-by=${KEYRING}]` : '';
  const line = (uri, suite) => `${type}${signed} ${uri} ${suite} ${components}`;
  const lines = [
    line(mirrors.main, codename),
    line(mirrors.main, `${codename}-updates`),
    line(mirrors.security, `${codename}-security`),
  ];
  if (backports) lines.push(line(mirrors.main, `${codename}-backports`));
  return lines;
}

/** What apt is told where the host's packages, pins and default release must not count. */
const BLIND_TO_HOST = [
  'Dir::State::status=/dev/null',
  'Dir::State::extended_states=/dev/null',
  'Dir::Etc::Preferences=/dev/null',
  'Dir::Etc::PreferencesParts=/dev/null',
  'APT::Default-Release=',
].flatMap((option) => ['-o', option]);

/** One private apt state: its own sources list, lists and package cache. */
export class PrivateApt {
  #dir;
  #options;

  /**
   * @param {string} name directory under the cache
   * @param {string[]} lines of its sources list
   * @param {{ forHost?: boolean }} [options] `forHost`: for packages to install here. Else
   *   what is installed here does not count: apt's candidate would be the host's own version.
   */
  constructor(name, lines, { forHost = false } = {}) {
    const dir = join(cacheDir(), 'apt', name);
    mkdirSync(join(dir, 'lists', 'partial'), { recursive: true });
    mkdirSync(join(dir, 'archives', 'partial'), { recursive: true });
    const list = join(dir, 'sources.list');
    const text = `${lines.join('\n')}\n`;
    if (!existsSync(list) || readFileSync(list, 'utf8') !== text) {
      writeAtomic(list, text);
      rmSync(join(dir, 'updated.json'), { force: true });
    }
    this.#dir = dir;
    this.#options = [
      ...['-o', `Dir::Etc::SourceList=${list}`],
      ...['-o', 'Dir::Etc::SourceParts=/dev/null'],
      ...['-o', `Dir::State::Lists=${join(dir, 'lists')}`],
      ...['-o', `Dir::Cache=${dir}`],
      ...['-o', 'Acquire::Languages=none'],
      ...['-o', 'Acquire::Retries=3'],
      ...(forHost ? [] : BLIND_TO_HOST),
    ];
    // Downloads go to the user's cache, which the _apt user cannot write.
    if (process.getuid?.() === 0) this.#options.push('-o', 'APT::Sandbox::User=root');
  }

  /** Refreshes the lists when they are missing, old, or `force`d. */
  async update({ force = false, onLine } = {}) {
    const stamp = join(this.#dir, 'updated.json');
    if (!force && readJson(stamp) && Date.now() - statSync(stamp).mtimeMs < LISTS_AGE_MS_MAX)
      return;
    // Without this option apt reports a mirror it cannot reach as a mere warning.
    await run('apt-get', [...this.#options, '-o', 'APT::Update::Error-Mode=any', 'update'], {
      onLine,
    });
    writeAtomic(stamp, '{}');
  }

  cache(...args) {
    return output('apt-cache', [...this.#options, ...args]);
  }

  /** Candidate version of a binary package. */
  candidate(name) {
    const version = /Candidate: (\S+)/.exec(this.cache('policy', name))?.[1];
    if (version === undefined || version === '(none)') {
      throw new StepError(`Debian package ${name} is not in the mirror`);
    }
    return version;
  }

  /** First real dependency of a metapackage that matches `pattern`. */
  dependency(name, pattern) {
    for (const line of this.cache('depends', name).split('\n')) {
      const found = /Depends: (\S+)/.exec(line)?.[1];
      if (found !== undefined && pattern.test(found)) return found;
    }
    throw new StepError(`Debian package ${name} has no dependency like ${pattern}`);
  }

  /** Source versions of a package, newest first (as Debian compares them). */
  sourceVersions(name) {
    const versions = this.cache('showsrc', '--only-source', name)
      .split('\n')
      .flatMap((line) => /^Version: (\S+)/.exec(line)?.[1] ?? []);
    const newer = (a, b) =>
      tryOutput('dpkg', ['--compare-versions', a, 'gt', b]) === undefined ? 1 : -1;
    return [...new Set(versions)].sort(newer);
  }

  /**
   * What would have to be installed on an empty system to have `names`, as { name, version }:
   * they and all that they depend on, recommendations left out.
   */
  closure(names) {
    const text = output('apt-get', [
      ...this.#options,
      ...['-s', 'install', '--no-install-recommends', ...names],
    ]);
    return [...text.matchAll(/^Inst (\S+) \((\S+)/gm)].map(([, name, version]) => ({
      name,
      version,
    }));
  }

  /** Downloads `name=version` packages into `dir`. */
  download(packages, dir, onLine) {
    return run('apt-get', [...this.#options, 'download', ...packages], { cwd: dir, onLine });
  }

  downloadSource(name, version, dir, onLine) {
    const what = `${name}=${version}`;
    return run('apt-get', [...this.#options, 'source', '--download-only', '--only-source', what], {
      cwd: dir,
      onLine,
    });
  }

  install(packages, onLine) {
    return run(
      'apt-get',
      [...this.#options, 'install', '-y', '--no-install-recommends', ...packages],
      { onLine, env: { DEBIAN_FRONTEND: 'noninteractive' } },
    );
  }
}

/** `ID`, `VERSION_ID`, `VERSION_CODENAME` of this host. */
export function osRelease(text = readFileSync('/etc/os-release', 'utf8')) {
  const get = (key) => new RegExp(`^${key}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { id: get('ID'), version: get('VERSION_ID'), codename: get('VERSION_CODENAME') };
}
