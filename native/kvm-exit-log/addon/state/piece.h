// SPDX-License-Identifier: Apache-2.0
// A piece of a VM's state as a frame (type 13, schema/wire.capnp, struct State): the one
// place that knows its bytes.  test/native/state.test.ts compares them with the schema's.
//
// A piece is a range of one part: a disk, a file of a checkpoint, memory.  What the parts
// are, and how long, was agreed before (intake.h); here it is a number.  A frame says so with
// the ABI's struct exitlog_piece, so that what QEMU puts into the ring of state can pass as it
// is; epoch 0 is a join's.  The data follow the head, padded to whole words; a piece that is
// all zero has a length and no data, and one that is a patch (bits/patch.h) the length of the
// range that it changes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "bits/layout.h"
#include "exitlog_abi.h"

namespace exitlog {

// Beside kPiecePatch, on a link.
constexpr uint32_t kPiecePacked = 4;

struct Piece {
  uint64_t ordinal;  // of the transfer, from 0
  uint32_t part;
  uint64_t offset;
  uint64_t bytes;  // with data 1 to kStateDataBytesMax; of a patch, its range: to kPatchRangeMax
  const uint8_t* data;  // null: all zero
  uint64_t epoch = 0;
  uint64_t patchBytes = 0;  // not 0: the data are a patch, so long; or
  bool isPacked = false;    // so long when they are packed (packed.h)

  uint64_t dataBytes() const {
    return data == nullptr ? 0 : patchBytes > 0 ? patchBytes : bytes;
  }
  // As struct exitlog_piece has them, and those above.
  uint32_t flags() const {
    if (data == nullptr) return 0;
    if (patchBytes == 0) return EXITLOG_PIECE_DATA;
    return EXITLOG_PIECE_DATA | kPiecePatch | (isPacked ? kPiecePacked : 0);
  }
};
static_assert(kStateDataBytesMax == EXITLOG_PIECE_BYTES_MAX, "");

// The State's data section, in order, and its one pointer.
struct StateBody {
  uint64_t checksum;
  uint64_t ordinal;
  struct exitlog_piece piece;
  uint64_t dataPointer;  // 0: no data
};
constexpr uint64_t kStateWords = 6;
static_assert(sizeof(StateBody) == (kStateWords + 1) * 8, "");

// Everything that precedes the data, contiguous.
struct StateHead {
  FramePrefix prefix;
  uint64_t segmentTable;
  uint64_t rootPointer;
  StateBody body;
};
static_assert(sizeof(StateHead) == sizeof(FramePrefix) + kStateHeadBytes, "");
static_assert(offsetof(StateHead, body) == 32, "the checksum is where every message has it");

constexpr uint64_t kStateFrameBytesMax = sizeof(FramePrefix) + kStateBodyBytesMax;

// The frame's head: the data may lie anywhere, and go out after it with `paddingOf` zeros.
StateHead headOf(const Piece& piece);
inline uint64_t paddingOf(const Piece& piece) {
  return paddedTo8(piece.dataBytes()) - piece.dataBytes();
}
// The whole frame, its data at `frame + sizeof(StateHead)` already, with room for the padding.
// @returns its bytes
uint64_t sealPiece(uint8_t* frame, const Piece& piece);

// Verifies a whole frame; the data point into it. Throws CorruptError.
Piece readPiece(const uint8_t* frame, size_t available);

}  // namespace exitlog
