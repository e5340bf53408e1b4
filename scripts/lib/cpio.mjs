// SPDX-License-Identifier: Apache-2.0
// A cpio archive ("newc") with every field that could vary set to zero, so that
// the same files give the same bytes.  Format: Linux
// Documentation/driver-api/early-userspace/buffer-format.rst.

const FILE = 0o100000;
const DIRECTORY = 0o040000;
const SYMLINK = 0o120000;
const CHARACTER = 0o020000;

export class Cpio {
  #entries = new Map();

  directory(path) {
    if (path === '' || path === '.' || this.#entries.has(path)) return;
    this.#parent(path);
    this.#entries.set(path, { mode: DIRECTORY | 0o755, data: Buffer.alloc(0) });
  }

  file(path, data, mode = 0o644) {
    this.#parent(path);
    this.#entries.set(path, { mode: FILE | mode, data });
  }

  symlink(path, target) {
    this.#parent(path);
    this.#entries.set(path, { mode: SYMLINK | 0o777, data: Buffer.from(target) });
  }

  character(path, major, minor) {
    this.#parent(path);
    this.#entries.set(path, { mode: CHARACTER | 0o600, data: Buffer.alloc(0), major, minor });
  }

  #parent(path) {
    const slash = path.lastIndexOf('/');
    if (slash > 0) this.directory(path.slice(0, slash));
  }

  /** The archive; names sorted, so a directory comes before what it holds. */
  bytes() {
    const parts = [];
    let inode = 1;
    const names = [...this.#entries.keys()].sort();
    for (const name of names) parts.push(...entry(name, this.#entries.get(name), inode++));
    parts.push(...entry('TRAILER!!!', { mode: 0, data: Buffer.alloc(0) }, 0));
    return Buffer.concat(parts);
  }
}

function entry(name, { mode, data, major = 0, minor = 0 }, inode) {
  const nameBytes = Buffer.from(`${name}\0`);
  const isDirectory = (mode & 0o170000) === DIRECTORY;
  const fields = [
    ...[inode, mode, 0, 0, isDirectory ? 2 : 1, 0, data.length],
    ...[0, 0, major, minor, nameBytes.length, 0],
  ];
  const header = `070701${fields.map((n) => n.toString(16).padStart(8, '0')).join('')}`;
  return [...pad(Buffer.concat([Buffer.from(header), nameBytes])), ...pad(data)];
}

function pad(bytes) {
  return [bytes, Buffer.alloc(-bytes.length & 3)];
}
