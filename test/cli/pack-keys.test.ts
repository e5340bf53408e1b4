// SPDX-License-Identifier: Apache-2.0
/** Packed recordings that are signed, encrypted, or both: what is proved, and what is refused. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, runJson } from '../lib/command.ts';
import { type FakeVm, makeFakeVm } from '../lib/fake-recordings.ts';

const keyed = suite('packed recordings with keys');

const CHUNK = 65_536 + 16;
const HEADER = 64;
const MARKER = 'a secret of the guest, again and again. ';

interface Keys {
  readonly sign: string;
  readonly verify: string;
  readonly secret: string;
}

async function keysIn(dir: string): Promise<Keys> {
  const { code, json, stderr } = await runJson(['keys', 'pack', '--dir', dir]);
  assert.is(code, 0, stderr);
  return json as unknown as Keys;
}

let made: Promise<{ vm: FakeVm; recording: string; keys: Keys; others: Keys }> | null = null;

/** A recording with 1 MiB that does not compress, and keys. */
function world() {
  made ??= (async () => {
    const vm = makeFakeVm('pack-keys', 2 << 20);
    writeFileSync(vm.disk, Buffer.concat([Buffer.from(MARKER), randomBytes(1 << 20)]), {
      flag: 'r+',
    });
    const recording = await vm.record();
    const keys = await keysIn(join(vm.dir, 'keys'));
    return { vm, recording, keys, others: await keysIn(join(vm.dir, 'others')) };
  })();
  return made;
}

let files = 0;

async function packed(...options: string[]): Promise<{ file: string; json: object }> {
  const { vm, recording } = await world();
  const file = join(vm.dir, `p${++files}.udpack`);
  const words = ['pack', recording, '--out', file, ...options];
  const { code, json, stderr } = await runJson(words, { env: vm.env });
  assert.is(code, 0, stderr);
  return { file, json };
}

async function unpacked(file: string, ...options: string[]): Promise<Record<string, unknown>> {
  const { vm, recording } = await world();
  const out = vm.fresh();
  const words = ['unpack', file, '--out', out, ...options];
  const { code, json, stderr } = await runJson(words, { env: vm.env });
  assert.is(code, 0, stderr);
  execFileSync('diff', ['-r', recording, out]);
  return json;
}

/** Nothing is left of it. */
async function refused(exit: number, code: string, file: string, ...options: string[]) {
  const { vm } = await world();
  const out = vm.fresh();
  const error = await vm.failure(exit, ['unpack', file, '--out', out, ...options]);
  assert.is(error.code, code, error.message);
  assert.not.ok(existsSync(out));
  const left = readdirSync(vm.dir).filter((name) => name.includes('partial'));
  assert.equal(left, []);
  return error.message;
}

/** A copy of a file, changed. */
function changed(file: string, change: (bytes: Buffer) => Buffer): string {
  const copy = file.replace('.udpack', `-${++files}.udpack`);
  writeFileSync(copy, change(Buffer.from(readFileSync(file))));
  return copy;
}

keyed('keys are their owner’s alone, made once, and it is said what is wrong', async () => {
  const { vm, keys, recording } = await world();
  for (const path of Object.values(keys)) assert.is(statSync(path).mode & 0o777, 0o600, path);
  const again = await vm.failure(1, ['keys', 'pack', '--dir', join(vm.dir, 'keys')]);
  assert.is(again.code, 'output-exists');
  const copy = join(vm.dir, 'readable.pem');
  const to = join(vm.dir, 'never.udpack');
  const failure = async (option: string, key: string): Promise<string> => {
    const error = await vm.failure(2, ['pack', recording, '--out', to, option, key]);
    assert.is(error.code, 'keys-unusable');
    assert.not.ok(existsSync(to));
    return error.message;
  };
  for (const [option, key] of [
    ['--sign', keys.sign],
    ['--encrypt-key', keys.secret],
  ] as const) {
    cpSync(key, copy);
    chmodSync(copy, 0o640);
    assert.match(await failure(option, copy), /readable\.pem .* others may read it: `chmod 600/);
    assert.match(await failure(option, join(vm.dir, 'none')), 'ENOENT');
    assert.match(await failure(option, vm.toml), /others may|it is no/);
  }
  assert.match(await failure('--sign', keys.secret), 'it is no key in PEM');
  assert.match(await failure('--sign', keys.verify), 'it is no key in PEM');
  assert.match(await failure('--encrypt-key', keys.sign), 'no secret for packed recordings');
  execFileSync('openssl', ['genrsa', '-out', join(vm.dir, 'rsa.pem'), '2048'], { stdio: 'ignore' });
  chmodSync(join(vm.dir, 'rsa.pem'), 0o600);
  assert.match(await failure('--sign', join(vm.dir, 'rsa.pem')), 'a key of rsa: Ed25519');
});

keyed('signed: its key proves it, another one does not, and openssl makes keys too', async () => {
  const { vm, keys, others } = await world();
  const { file, json } = await packed('--sign', keys.sign);
  const { signer } = json as { signer: string };
  assert.match(signer, /^SHA256:[A-Za-z0-9+/]{43}$/);
  const proved = await unpacked(file, '--verify-key', keys.verify);
  assert.equal([proved.signer, proved.signature_verified], [signer, true]);
  const unproved = await unpacked(file);
  assert.equal([unproved.signer, unproved.signature_verified], [signer, false]);
  const said = await run(['unpack', file, '--out', vm.fresh()], { env: vm.env });
  assert.match(said.stderr, `says to be signed with ${signer}: not verified`);
  const other = await refused(11, 'pack-signature', file, '--verify-key', others.verify);
  assert.match(other, /is signed with key SHA256:\S+, and not with SHA256:/);

  const own = join(vm.dir, 'openssl.pem');
  execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', own]);
  chmodSync(own, 0o600);
  execFileSync('openssl', ['pkey', '-in', own, '-pubout', '-out', `${own}.pub`]);
  await unpacked((await packed('--sign', own)).file, '--verify-key', `${own}.pub`);
});

keyed('who asks for a signature takes nothing without one', async () => {
  const { keys } = await world();
  const { file } = await packed();
  assert.is(readFileSync(file).readUInt32LE(8), 1, 'older understudies read what is not signed');
  const said = await refused(11, 'pack-signature', file, '--verify-key', keys.verify);
  assert.match(said, 'is not signed');
});

keyed('a signed file that was changed is refused, checksums made good or not', async () => {
  const { keys, others } = await world();
  const { file } = await packed('--sign', keys.sign);
  const { file: theirs } = await packed('--sign', others.sign);
  const [mine, foreign] = [readFileSync(file), readFileSync(theirs)];
  // Frame, key, signature, and the end: 12 + 96 + 12 + 32 bytes.
  const tail = 152;
  const check = (bytes: string): Promise<string> =>
    refused(11, 'pack-signature', bytes, '--verify-key', keys.verify);
  // Their content with my signature: each frame is sound, packed_at alone differs.
  const moved = changed(theirs, (bytes) =>
    Buffer.concat([bytes.subarray(0, -tail), mine.subarray(-tail)]),
  );
  assert.match(await check(moved), 'it was changed since');
  assert.not.equal(mine.subarray(0, -tail), foreign.subarray(0, -tail));
  for (const at of [20, 5000, mine.length - tail - 1]) {
    const bent = changed(file, (bytes) => {
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      return bytes;
    });
    assert.match(await check(bent), 'it was changed since', `byte ${at}`);
  }
  const short = changed(file, (bytes) => bytes.subarray(0, 400));
  await refused(11, 'pack-corrupt', short, '--verify-key', keys.verify);
  const behind = changed(file, (bytes) => Buffer.concat([bytes, Buffer.from('x')]));
  await refused(11, 'pack-corrupt', behind, '--verify-key', keys.verify);
});

keyed('encrypted: nothing of it can be read, and the key opens it', async () => {
  const { keys } = await world();
  const plain = readFileSync((await packed()).file);
  const { file, json } = await packed('--encrypt-key', keys.secret);
  assert.is((json as { encrypted: boolean }).encrypted, true);
  assert.is(statSync(file).mode & 0o777, 0o600);
  const bytes = readFileSync(file);
  assert.is((json as { packed_bytes: number }).packed_bytes, bytes.length);
  for (const text of ['log/000001.udl', 'vm.json', '"fake"']) {
    assert.ok(plain.includes(text), text);
    assert.not.ok(bytes.includes(text), text);
  }
  assert.is((await unpacked(file, '--decrypt-key', keys.secret)).encrypted, true);
  const again = readFileSync((await packed('--encrypt-key', keys.secret)).file);
  assert.not.ok(again.subarray(HEADER, HEADER + 64).equals(bytes.subarray(HEADER, HEADER + 64)));
});

keyed('no key, and another one', async () => {
  const { keys, others } = await world();
  const { file } = await packed('--encrypt-key', keys.secret);
  assert.match(await refused(2, 'pack-key', file), 'is encrypted: give its key');
  const other = await refused(2, 'pack-key', file, '--decrypt-key', others.secret);
  assert.match(other, 'encrypted with another key');
  // A file that is not encrypted needs none.
  await unpacked((await packed()).file, '--decrypt-key', others.secret);
});

keyed('encrypted, and cut short, reordered, repeated, mixed or bent: refused by name', async () => {
  const { vm, keys } = await world();
  const { file } = await packed('--encrypt-key', keys.secret);
  const { file: twin } = await packed('--encrypt-key', keys.secret);
  const whole = readFileSync(file);
  const count = Math.ceil((whole.length - HEADER) / CHUNK);
  assert.ok(count > 10, `${count} chunks`);
  const chunk = (bytes: Buffer, n: number): Buffer =>
    bytes.subarray(HEADER + n * CHUNK, HEADER + (n + 1) * CHUNK);
  const of = (order: readonly number[]): ((bytes: Buffer) => Buffer) => {
    return (bytes) =>
      Buffer.concat([bytes.subarray(0, HEADER), ...order.map((n) => chunk(bytes, n))]);
  };
  const all = Array.from({ length: count }, (_, n) => n);
  assert.ok(of(all)(whole).equals(whole));
  const swapped = all.map((n) => (n === 3 ? 4 : n === 4 ? 3 : n));
  for (const [what, change, words] of [
    ['cut at a chunk', of(all.slice(0, -1)), /it is cut short, its end is missing/],
    ['one missing', of(all.filter((n) => n !== 3)), /it is not what was encrypted there/],
    ['two swapped', of(swapped), /chunk 4 of \d+: it is not what/],
    ['one twice', of([0, 0, ...all.slice(1)]), /it is not what was encrypted there/],
    ['more behind it', of([...all, 0]), /it is not what was encrypted there/],
    ['cut anywhere', (bytes: Buffer) => bytes.subarray(0, -1), /it is not what/],
    ['cut in the header', (bytes: Buffer) => bytes.subarray(0, 40), /its header: it is cut short/],
    [
      'one of another file with the same key',
      (bytes: Buffer) =>
        Buffer.concat([
          bytes.subarray(0, HEADER + CHUNK),
          chunk(readFileSync(twin), 1),
          bytes.subarray(HEADER + 2 * CHUNK),
        ]),
      /chunk 2 of \d+: it is not what/,
    ],
    [
      'a bit of a tag',
      (bytes: Buffer) => {
        const at = HEADER + 2 * CHUNK - 1;
        bytes.writeUInt8(bytes.readUInt8(at) ^ 128, at);
        return bytes;
      },
      /chunk 2 of \d+: it is not what/,
    ],
  ] as const) {
    const bad = changed(file, change as (bytes: Buffer) => Buffer);
    const said = await refused(11, 'pack-corrupt', bad, '--decrypt-key', keys.secret);
    assert.match(said, words, what);
  }
  const salt = changed(file, (bytes) => {
    bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20);
    return bytes;
  });
  const said = await refused(2, 'pack-key', salt, '--decrypt-key', keys.secret);
  assert.match(said, 'or its header is damaged');
  const empty = join(vm.dir, 'empty.udpack');
  cpSync(file, empty);
  truncateSync(empty, 0);
  await refused(11, 'pack-corrupt', empty, '--decrypt-key', keys.secret);
});

keyed('signed and encrypted', async () => {
  const { vm, keys, others } = await world();
  const { file } = await packed('--sign', keys.sign, '--encrypt-key', keys.secret);
  const both = ['--decrypt-key', keys.secret, '--verify-key', keys.verify];
  const proved = await unpacked(file, ...both);
  assert.equal([proved.signature_verified, proved.encrypted], [true, true]);
  const wrong = ['--decrypt-key', keys.secret, '--verify-key', others.verify];
  assert.match(await refused(11, 'pack-signature', file, ...wrong), 'is signed with key');
  await refused(2, 'pack-key', file, '--verify-key', keys.verify);
  const replay = vm.fresh();
  assert.is((await run(['unpack', file, '--out', replay, ...both], { env: vm.env })).code, 0);
  const { json } = await runJson(['replay', replay, '--verify'], { env: vm.env });
  assert.is(json.verified, true);
});

keyed('content of every length around a chunk comes back', async () => {
  const { vm, keys } = await world();
  const { SealWriter, SealReader } = await import('../../src/pack/seal.ts');
  const { secretKey } = await import('../../src/pack/keys.ts');
  const { open } = await import('node:fs/promises');
  const secret = secretKey(keys.secret);
  mkdirSync(join(vm.dir, 'lengths'));
  for (const length of [1, 65_535, 65_536, 65_537, 131_072, 131_073, 200_000]) {
    const content = randomBytes(length);
    const path = join(vm.dir, 'lengths', String(length));
    const handle = await open(path, 'wx+');
    const writer = await SealWriter.begin(handle, secret);
    const part = 30_011;
    for (let at = 0; at < length; at += part) await writer.write(content.subarray(at, at + part));
    await writer.end();
    const reader = await SealReader.open(path, handle, statSync(path).size, secret);
    assert.is(reader.size, length);
    const back = Buffer.alloc(length);
    await reader.read(back, 0);
    assert.ok(back.equals(content), `${length} bytes`);
    await handle.close();
  }
});

keyed.run();
