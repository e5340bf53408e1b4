// SPDX-License-Identifier: Apache-2.0
/** Time-travel debugging: what devices write, and what REP writes, is found as any store. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { root, run, scratch } from '../lib/command.ts';
import { gdb, killDebugServers, startDebug, symbol } from '../lib/debugger.ts';

const dir = scratch('debug-writes');
const program = join(dir, 'sector');
const recording = join(dir, 'recording');
const writes = suite('debug: writes');

/** Linked for gdb's sake as for the CPU that QEMU describes; 16 bits all the same. */
async function recordSector(): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const object = join(dir, 'sector.o');
  const image = join(dir, 'disk.raw');
  execFileSync('as', ['--64', '-o', object, join(root, 'test/lib/device-writes.s')]);
  execFileSync('ld', ['-Ttext', '0x7c00', '-o', program, object]);
  execFileSync('objcopy', ['-O', 'binary', program, image]);
  truncateSync(image, 1 << 20);
  const lines = ['name = "writes"', 'memory = "32M"', 'rng = false', '[[disk]]'];
  writeFileSync(join(dir, 'VM.toml'), `${lines.join('\n')}\nimage = "disk.raw"\n`);
  const words = ['record', join(dir, 'VM.toml'), '--out', recording, '--digest-every', '1M'];
  const { code, stderr } = await run(words);
  assert.is(code, 0, stderr);
}
await recordSector();

const innocent = symbol(program, 'innocent');

/** From the end back to who wrote a word, on to who did before, and forward again. */
async function who(address: number): Promise<string> {
  const server = await startDebug(recording, ['--from', 'end']);
  const word = `*(unsigned *) ${address}`;
  const tell = (name: string): string => `printf "${name} pc=%lx value=%x\\n", (long)$pc, ${word}`;
  const script = [
    `watch ${word}`,
    tell('end'),
    'reverse-continue',
    tell('last'),
    'monitor where',
    'reverse-continue',
    tell('older'),
    'continue', // the innocent store itself
    'continue',
    tell('forward'),
    'monitor where',
    'delete',
    'continue', // to the end: every digest is compared
    'monitor where',
  ];
  const said = await gdb({ program, target: server.target, script, dir });
  assert.is(await server.end(), 0);
  return said;
}

function facts(said: string): Record<string, { pc: bigint; value: string }> {
  const found = [...said.matchAll(/^(\w+) pc=([0-9a-f]+) value=([0-9a-f]+)$/gm)];
  return Object.fromEntries(
    found.map(([, name = '', pc, value = '']) => [name, { pc: BigInt(`0x${pc}`), value }]),
  );
}

/** The positions that `monitor where` told. */
function icounts(said: string): number[] {
  return [...said.matchAll(/^icount (\d+)/gm)].map(([, icount]) => Number(icount));
}

writes('a word that a disk wrote: before its completion, which is named', async () => {
  const said = await who(0x9000);
  const { end, last, older, forward } = facts(said);
  assert.is(end?.value, '55555555', said);
  assert.is(last?.value, '11111111', 'the disk has not written yet');
  const named = /0x9000 is written at icount (\d+), not by an instruction: (.*)$/gm;
  const [[, icount, by] = [], ...others] = [...said.matchAll(named)];
  assert.match(by ?? '', /^disk0: request \d+ is complete \(BLK_DONE\)$/, said);
  assert.equal(
    others.map(([, at, whom]) => [at, whom]),
    [[icount, by]],
    'going forward it is the same one, once',
  );
  const [atLast, atForward] = icounts(said);
  assert.equal([atLast, atForward], [Number(icount), Number(icount)], said);
  assert.match(said, /before what devices do there[^#]*next record: #\d+ .* BLK_DONE/s, said);
  assert.is(older?.pc, innocent, said);
  assert.is(forward?.value, '55555555', said);
});

writes('a word that fw_cfg wrote: before the instruction that asked for it', async () => {
  const said = await who(0x9200);
  const { last, older, forward } = facts(said);
  assert.is(last?.pc, symbol(program, 'ask'), said);
  assert.is(last?.value, '11111111', said);
  assert.match(said, /0x9200 is written at icount \d+, asked for by the instruction: .*fw_cfg/);
  assert.ok((older?.pc ?? 0n) > innocent, said);
  assert.is(forward?.value, '554d4551', 'QEMU');
  const [atLast = 0, atForward] = icounts(said);
  assert.is(atForward, atLast + 1, said);
});

for (const [name, address, value] of [
  ['moves', 0x9420, '55555555'],
  ['stores', 0x9620, '22222222'],
] as const) {
  writes(`a word in the midst of what REP writes: ${name}`, async () => {
    const said = await who(address);
    const { last, older, forward } = facts(said);
    assert.is(last?.pc, symbol(program, name), said);
    assert.is(last?.value, '11111111', said);
    assert.ok((older?.pc ?? 0n) > innocent && (older?.pc ?? 0n) < (last?.pc ?? 0n), said);
    assert.is(forward?.value, value, said);
    const [atLast = 0, atForward] = icounts(said);
    assert.is(atForward, atLast + 1, said);
    assert.not.match(said, /is written at icount/);
  });
}

writes('a word in the midst of what REP INS reads from a port', async () => {
  const said = await who(0x9820);
  const { last, older } = facts(said);
  assert.is(last?.pc, symbol(program, 'inputs'), said);
  assert.is(last?.value, '11111111', said);
  assert.ok((older?.pc ?? 0n) > innocent, said);
});

writes.after(killDebugServers);
writes.run();
