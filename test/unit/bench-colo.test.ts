// SPDX-License-Identifier: Apache-2.0
/** What drives COLO, without a QEMU: its monitor's protocol, and what it tells. */
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate as turn } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tempDir } from '../../bench/stand-ins/logs.ts';
import { primaryDrives, secondaryDrives } from '../../bench/systems/colo-pair.ts';
import { Checkpoints, Exit } from '../../bench/systems/colo-watch.ts';
import { Qmp, type QmpEvent } from '../../bench/systems/qmp.ts';

const colo = suite('bench: colo');

interface Command {
  readonly execute: string;
  readonly id: number;
  readonly arguments: Record<string, unknown>;
}

/** @param answer what is written for a command; null: QEMU ends */
async function monitor(
  answer: (command: Command) => readonly object[] | null,
): Promise<{ path: string; server: Server }> {
  const path = join(tempDir('qmp'), 'qmp');
  const server = createServer((socket: Socket) => {
    socket.write('{"QMP": {"version": {}, "capabilities": []}}\r\n');
    createInterface(socket).on('line', (line) => {
      const said = answer(JSON.parse(line) as Command);
      if (said === null) socket.destroy();
      for (const one of said ?? []) socket.write(`${JSON.stringify(one)}\r\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { path, server };
}

async function failure(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'nothing failed',
    (error: Error) => error.message,
  );
}

colo('answers find their commands, events come beside them, errors have their text', async () => {
  const late: object[] = [];
  const { path, server } = await monitor(({ execute, id }) => {
    if (execute === 'first') late.push({ id, return: 'of the first' });
    if (execute === 'first') return [{ event: 'STOP' }];
    if (execute === 'second') return [{ id, return: 2 }, ...late];
    if (execute === 'human-monitor-command') return [{ id, return: 'no such drive\r\n' }];
    if (execute === 'bad') return [{ id, error: { class: 'GenericError', desc: 'not now' } }];
    if (execute === 'quit') return null;
    return [{ id, return: {} }];
  });
  const events: QmpEvent[] = [];
  const qmp = await Qmp.connect(
    path,
    () => false,
    (event) => events.push(event),
  );
  const first = qmp.execute('first');
  assert.is(await qmp.execute('second'), 2);
  assert.is(await first, 'of the first');
  assert.equal(events, [{ event: 'STOP' }]);
  const stopped = qmp.next(({ event }) => event === 'STOP');
  const never = qmp.next(({ event }) => event === 'RESUME');
  void qmp.execute('first').catch(() => {});
  assert.equal(await stopped, { event: 'STOP' }, 'one from before does not count');
  assert.is(await failure(qmp.execute('bad')), 'bad: not now');
  assert.is(await failure(qmp.executeHuman('drive_add x')), 'drive_add x: no such drive');
  assert.is(await failure(qmp.execute('quit')), 'quit: QEMU ended before it answered');
  assert.is(await failure(never), 'QEMU ended before an event that was waited for');
  assert.is(await failure(qmp.execute('more')), 'more: QEMU has ended');
  server.close();
});

colo('a QEMU that has ended is not waited for', async () => {
  const nowhere = join(tempDir('qmp'), 'qmp');
  const startedMs = performance.now();
  assert.match(await failure(Qmp.connect(nowhere, () => true)), 'ENOENT');
  assert.ok(performance.now() - startedMs < 5000);
});

colo('its checkpoints, from the trace; the start is none', () => {
  const counted = new Checkpoints();
  const change = (s: string, from: string, to: string): void =>
    counted.onLine(`4711@${s}:colo_vm_state_change Change '${from}' => '${to}'`);
  assert.equal(counted.facts(), { checkpoints: 0 });
  change('1795992000.000000', 'stop', 'run');
  assert.equal(counted.facts(), { checkpoints: 0 });
  change('1795992001.250000', 'run', 'stop');
  counted.onLine('2026-11-26T22:59:31Z qemu-system-x86_64: filter mirror send failed');
  change('1795992001.350000', 'stop', 'run');
  change('1795992002.000000', 'run', 'stop');
  change('1795992002.300000', 'stop', 'run');
  change('1795992003.000000', 'run', 'stop');
  const { checkpoints, checkpoint_pause_mean_ms } = counted.facts();
  assert.is(checkpoints, 2, 'the third is not over');
  assert.is(Math.round(checkpoint_pause_mean_ms ?? 0), 200);
});

colo('COLO that ends is a failure, unless the guest has powered off', async () => {
  const [early, late] = [new Exit(), new Exit()];
  const exit = { event: 'COLO_EXIT', data: { mode: 'primary', reason: 'error' } };
  early.onEvent({ event: 'STOP' });
  early.onEvent(exit);
  assert.is(await failure(early.early), 'COLO ended before the guest did: error');
  late.onEvent({ event: 'SHUTDOWN', data: { guest: true } });
  late.onEvent(exit);
  await turn();
  const open = Symbol('open');
  assert.is(await Promise.race([late.early, Promise.resolve(open)]), open);
});

colo('a comma in a path is doubled, on every disk', () => {
  const side = { dir: '/a,b', image: '/a,b/disk.raw' };
  for (const word of [...primaryDrives(side), ...secondaryDrives(side)]) {
    assert.not.match(word, '/a,b');
    if (word.includes('/a')) assert.match(word, '/a,,b/');
  }
});

colo.run();
