// SPDX-License-Identifier: Apache-2.0
/**
 * A client that floods: megabytes of requests as fast as TCP takes them, and broken
 * ones beside them. The pair stays protected, the other clients are served, every
 * answer comes, and the log of it all stays what both sides agree on.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { requestFrame } from '../../src/lab/frames.ts';
import { scratch } from '../lib/command.ts';
import { Pair } from '../lib/pair.ts';
import { referenceGuest } from '../lib/workloads.ts';

const flood = suite('a client that floods');
const REQUESTS = 3000;

flood('is served, and so are the others', async () => {
  const pair = Pair.start(scratch('flood'), await referenceGuest(), ['lag_ms_max = 100']);
  try {
    await pair.until('the service listens', () => pair.console('primary').includes('listening'));
    const flooder = pair.connect(7);
    const broken = Array.from({ length: 4 }, () => pair.connect(7));
    const modest = pair.connect(7);
    await pair.until('all connect', () =>
      [flooder, modest, ...broken].every(({ connected }) => connected),
    );
    const requests = Array.from({ length: REQUESTS }, (_, number) => requestFrame(2, number));
    const sent = Buffer.concat(requests);
    flooder.send(sent);
    for (const wire of broken) wire.send('y'.repeat(300_000));
    modest.send(requestFrame(3, 0));
    await pair.until('the modest one is served', () => modest.received.equals(requestFrame(3, 0)));
    await pair.until('the broken ones are cut off', () => broken.every(({ closed }) => closed));
    await pair.until('all answers', () => flooder.received.length >= sent.length);
    assert.ok(flooder.received.equals(sent), 'answers are the requests, in order');
    const primary = await pair.status('primary');
    const backup = await pair.status('backup');
    assert.is(primary?.state, 'protected', String(primary?.reason));
    assert.is(backup?.state, 'standby', String(backup?.reason));
    for (const wire of [flooder, modest]) wire.end();
  } finally {
    await pair.end();
  }
});

flood.run();
