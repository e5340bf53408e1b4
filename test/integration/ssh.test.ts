// SPDX-License-Identifier: Apache-2.0
/**
 * A client's ssh session with a Debian guest (systemd, sshd) outlives the primary: its shell is
 * the same, each character that was typed comes back once, and within a second (Coleșa et al.).
 *
 *   SEED=N npm test integration/ssh
 */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { scratch } from '../lib/command.ts';
import { sshFailover } from '../lib/ssh-failover.ts';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const root = scratch('ssh');
const ssh = suite('ssh');

for (const protocol of ['lockstep', 'remus']) {
  ssh(`${protocol}: a session outlives the primary`, async () => {
    assert.is(process.getuid?.(), 0, 'this test makes network namespaces: run it as root');
    const dir = join(root, protocol);
    const run = await sshFailover({ dir, protocol, seed, secondsBefore: 0.5, secondsAfter: 1 });
    assert.is(run.problem, '', `again with SEED=${seed} npm test integration/ssh`);
    assert.ok(run.lines > 50, `only ${run.lines} lines were typed`);
  });
}

ssh.run();
