// SPDX-License-Identifier: Apache-2.0
// The tools that make a guest: compiler, mke2fs and gzip of the guest's own Debian
// release, unpacked beside it and run by their own loader, never the host's. So the
// guest is the same bytes on every host, whatever is installed there.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { output, run, StepError } from './run.mjs';

const PACKAGES = ['gcc', 'libc6-dev', 'e2fsprogs', 'gzip'];
const TRIPLET = 'x86_64-linux-gnu';

/** Tools in a folder of their own. */
export class GuestTools {
  #root;
  #work;

  /** @param {string} root of the unpacked packages @param {string} work for intermediate files */
  constructor(root, work) {
    this.#root = root;
    this.#work = work;
  }

  /**
   * Downloads and unpacks the tools.
   * @param apt the lists of the guest's release (PrivateApt)
   * @param {string} work a folder of the caller's, deleted by the caller
   * @returns {Promise<GuestTools>}
   */
  static async unpack(apt, work, onLine) {
    const debs = join(work, 'tools-debs');
    const root = join(work, 'tools');
    mkdirSync(debs);
    mkdirSync(root);
    const wanted = apt.closure(PACKAGES).map(({ name, version }) => `${name}=${version}`);
    await apt.download(wanted, debs, onLine);
    for (const deb of readdirSync(debs)) await run('dpkg-deb', ['-x', join(debs, deb), root]);
    return new GuestTools(root, work);
  }

  /** Compiles one C file to a static program; returns its path. */
  compile(source, name) {
    const version = readdirSync(this.#at('usr/lib/gcc', TRIPLET))[0];
    const gcc = this.#at('usr/lib/gcc', TRIPLET, version);
    const libraries = this.#at('usr/lib', TRIPLET);
    const out = (suffix) => join(this.#work, `${name}${suffix}`);
    const include = [
      join(gcc, 'include'),
      this.#at('usr/include', TRIPLET),
      this.#at('usr/include'),
    ];
    const cc1 = ['usr/libexec/gcc', 'usr/lib/gcc'].map((dir) => `${dir}/${TRIPLET}/${version}/cc1`);
    this.#run(cc1, [
      ...['-quiet', '-nostdinc', ...include.flatMap((dir) => ['-isystem', dir])],
      ...['-imultiarch', TRIPLET, '-O2', '-Wall', '-dumpbase', name, source, '-o', out('.s')],
    ]);
    this.#run([`usr/bin/${TRIPLET}-as`], ['--64', '-o', out('.o'), out('.s')]);
    // Libraries that are linker scripts name files by absolute paths: below the sysroot.
    this.#run(
      [`usr/bin/${TRIPLET}-ld.bfd`],
      [
        ...[`--sysroot=${this.#root}`, '-static', '-s', '--build-id=none', '-z', 'noexecstack'],
        ...['-m', 'elf_x86_64', '-o', out('')],
        ...[join(libraries, 'crt1.o'), join(libraries, 'crti.o'), join(gcc, 'crtbeginT.o')],
        ...[out('.o'), `-L${gcc}`, `-L${libraries}`],
        ...['--start-group', '-lm', '-lgcc', '-lgcc_eh', '-lc', '--end-group'],
        ...[join(gcc, 'crtend.o'), join(libraries, 'crtn.o')],
      ],
    );
    return out('');
  }

  /** Compresses as gzip -9 does; no name and no time go in. */
  gzip(bytes) {
    const plain = join(this.#work, 'plain');
    writeFileSync(plain, bytes);
    this.#run(['bin/gzip', 'usr/bin/gzip'], ['-9', '-n', '-f', '-k', plain]);
    return readFileSync(`${plain}.gz`);
  }

  mke2fs(args, env) {
    this.#run(['sbin/mke2fs', 'usr/sbin/mke2fs'], args, env);
  }

  /** Runs the first of `programs` that there is; nothing of our environment reaches it. */
  #run(programs, args, env = {}) {
    const program = programs.map((name) => this.#at(name)).find((path) => existsSync(path));
    if (program === undefined) throw new StepError(`the guest's release has no ${programs[0]}`);
    const path = ['lib', 'usr/lib'].map((dir) => this.#at(dir, TRIPLET)).join(':');
    const argv = ['--library-path', path, program, ...args];
    return output(this.#loader(), argv, { env: { ...env, LC_ALL: 'C' } });
  }

  #loader() {
    const dirs = ['lib64', 'usr/lib64', `lib/${TRIPLET}`, `usr/lib/${TRIPLET}`];
    // Where it is a link, the link is absolute, into the host.
    for (const dir of dirs.map((name) => this.#at(name)).reverse()) {
      const file = join(dir, 'ld-linux-x86-64.so.2');
      if (existsSync(file) && readFileSync(file).subarray(0, 4).toString('latin1') === '\x7fELF') {
        return file;
      }
    }
    throw new StepError("the guest's release has no loader");
  }

  #at(...parts) {
    return join(this.#root, ...parts);
  }
}
