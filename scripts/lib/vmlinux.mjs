// SPDX-License-Identifier: Apache-2.0
// The ELF kernel inside a bzImage.
//
// Booted through its PVH entry point it skips the real-mode setup code and the
// decompression, which emulated are over a second of every boot.  Debian
// compresses its kernels with LZ4, "legacy" frame format
// (lz4/doc/lz4_Frame_format.md); blocks are as in lz4_Block_format.md.

const LEGACY_MAGIC = 0x184c2102;
const BLOCK_BYTES_MAX = 8 << 20;

/** @param {Buffer} bzImage @returns {Buffer | undefined} undefined: not an LZ4 kernel */
export function extractVmlinux(bzImage) {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(LEGACY_MAGIC);
  const start = bzImage.indexOf(magic);
  if (start < 0) return undefined;
  const blocks = [];
  for (let at = start + 4; at + 4 <= bzImage.length; ) {
    const bytes = bzImage.readUInt32LE(at);
    // The kernel's build appends the unpacked size, which looks like one more
    // block; an impossible block size is the end as well.
    const isLast = blocks.length > 0 && blocks.at(-1).length < BLOCK_BYTES_MAX;
    if (isLast || bytes === 0 || at + 4 + bytes > bzImage.length) break;
    blocks.push(decodeBlock(bzImage.subarray(at + 4, at + 4 + bytes)));
    at += 4 + bytes;
  }
  const image = Buffer.concat(blocks);
  return image.readUInt32BE(0) === 0x7f454c46 ? image : undefined;
}

function decodeBlock(input) {
  const out = Buffer.allocUnsafe(BLOCK_BYTES_MAX);
  let length = 0;
  const extended = (nibble) => {
    let n = nibble;
    if (nibble === 15) {
      let byte;
      do {
        byte = input[at++];
        n += byte;
      } while (byte === 255);
    }
    return n;
  };
  let at = 0;
  while (at < input.length) {
    const token = input[at++];
    const literals = extended(token >> 4);
    input.copy(out, length, at, at + literals);
    at += literals;
    length += literals;
    if (at >= input.length) break;
    const distance = input[at] | (input[at + 1] << 8);
    at += 2;
    const matched = extended(token & 15) + 4;
    // Byte by byte: a match may overlap what it produces.
    for (let end = length + matched; length < end; length++) out[length] = out[length - distance];
  }
  return out.subarray(0, length);
}
