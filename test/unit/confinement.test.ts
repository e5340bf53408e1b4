// SPDX-License-Identifier: Apache-2.0
/** As whom a QEMU runs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UnderstudyError } from '../../src/base/errors.ts';
import { type Confinement, confinement } from '../../src/vm/confinement.ts';

const isRoot = process.geteuid?.() === 0;

function as(user: string | undefined): Confinement | UnderstudyError {
  const before = process.env.UNDERSTUDY_QEMU_USER;
  if (user === undefined) delete process.env.UNDERSTUDY_QEMU_USER;
  else process.env.UNDERSTUDY_QEMU_USER = user;
  try {
    return confinement();
  } catch (error) {
    if (error instanceof UnderstudyError) return error;
    throw error;
  } finally {
    delete process.env.UNDERSTUDY_QEMU_USER;
    if (before !== undefined) process.env.UNDERSTUDY_QEMU_USER = before;
  }
}

function refusal(user: string): string {
  const result = as(user);
  assert.ok(result instanceof UnderstudyError, user);
  assert.is(result.code, 'host-unsupported');
  return result.message;
}

test('root starts it as a user without rights', () => {
  if (!isRoot) return;
  for (const result of [as(undefined), as(''), as('nobody')]) {
    assert.ok(!(result instanceof UnderstudyError));
    assert.ok((result.user?.uid ?? 0) > 0 && (result.user?.gid ?? 0) > 0, JSON.stringify(result));
  }
});

test('another user starts it as itself', () => {
  if (isRoot) return;
  assert.equal(as(undefined), { user: null });
  assert.match(refusal('daemon'), /only root can start QEMU as user "daemon"/);
});

test('a user that there is not, and root, are refused with the remedy', () => {
  if (!isRoot) return;
  assert.match(refusal('no-such-user'), /no user "no-such-user" for QEMU.*useradd --system/);
  assert.match(refusal('root'), /QEMU does not run as root/);
});

test.run();
