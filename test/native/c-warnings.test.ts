// SPDX-License-Identifier: Apache-2.0
/**
 * C of ours compiles without a warning: here, and not where a user's compiler of another
 * year builds it. The exit log with the flags that QEMU's build gave it, programs alone.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Progress } from '#scripts/lib/progress.mjs';
import { projectRoot } from '#scripts/paths.mjs';
import { patchedTree } from '#scripts/steps/qemu.mjs';
import { testLinters } from '#scripts/steps/test-linters.mjs';
import { filesBelow } from '../lib/imports.ts';

const QEMU = join(projectRoot, 'native/kvm-exit-log/qemu');
/** QEMU's hooks have parameters that not every one of ours needs. */
const STRICT = ['-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror', '-fsyntax-only'];
/** What gcc 12 is told and clang 14 does not understand. */
const GCC_ALONE = ['-fzero-call-used-regs=used-gpr', '-ftrivial-auto-var-init=zero'];

interface Command {
  readonly file: string;
  readonly command: string;
}

const progress = new Progress({ quietDone: true });
await testLinters(progress);
progress.begin("QEMU's build tree");
const TREE = await patchedTree(progress);
progress.end();
const COMPILERS = ['gcc', 'clang'];

/**
 * A build's flags for the same file in this checkout. Headers of others count as the
 * system's, so that only ours are looked at.
 */
function flagsOf({ command }: Command, cc: string): string[] {
  const words = execFileSync('sh', ['-c', `printf '%s\\0' ${command}`], { encoding: 'utf8' })
    .split('\0')
    .slice(1, -1);
  const flags: string[] = cc === 'clang' ? ['-Wno-unknown-warning-option'] : [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (['-MQ', '-MF', '-o', '-c'].includes(word)) i++;
    else if (word === '-MD' || (cc === 'clang' && GCC_ALONE.includes(word))) continue;
    else if (word === '-iquote') flags.push('-isystem', words[++i] ?? '');
    else if (word.startsWith('-I')) flags.push('-isystem', word.slice(2));
    else flags.push(word);
  }
  return flags;
}

function complaints(cc: string, flags: readonly string[], cwd: string): string {
  const { stderr, status } = spawnSync(cc, [...flags], { cwd, encoding: 'utf8' });
  return status === 0 ? stderr : stderr || `${cc} ended with ${status}`;
}

const warnings = suite('C without a warning');

for (const cc of COMPILERS) {
  warnings(`the exit log in QEMU, ${cc}`, () => {
    const database = join(TREE, 'build/compile_commands.json');
    assert.ok(existsSync(database), `no ${database}: QEMU's build tree is gone from the cache`);
    const commands: Command[] = JSON.parse(readFileSync(database, 'utf8'));
    const files = filesBelow(QEMU, 'exitlog', ['.c']);
    assert.ok(files.length > 50);
    for (const file of files) {
      const command = commands.find((entry) => entry.file.endsWith(`/src/${file}`));
      assert.ok(command, `${file} is not built`);
      const source = ['-iquote', QEMU, ...flagsOf(command, cc), ...STRICT, join(QEMU, file)];
      assert.is(complaints(cc, source, join(TREE, 'build')), '', file);
    }
  });

  warnings(`programs of tests and guests, ${cc}`, () => {
    const include = join(projectRoot, 'native/kvm-exit-log/include');
    const files = [
      ...filesBelow(projectRoot, 'test', ['.c']),
      ...filesBelow(projectRoot, 'guest', ['.c']),
      ...filesBelow(projectRoot, 'native/us-guard', ['.c']),
    ];
    assert.ok(files.length > 10);
    for (const file of files) {
      const kind = file.endsWith('/nosy.c') ? ['-m32', '-ffreestanding'] : [];
      const flags = ['-std=gnu11', '-O2', ...kind, ...STRICT, '-I', include, file];
      assert.is(complaints(cc, flags, projectRoot), '', file);
    }
  });
}

warnings('one is found', () => {
  for (const cc of COMPILERS) {
    const source = 'int f(unsigned a, int b) { return a < b; }';
    const { stderr } = spawnSync(cc, [...STRICT, '-xc', '-'], { input: source, encoding: 'utf8' });
    assert.match(stderr, /sign-compare/);
  }
});

warnings.run();
