// SPDX-License-Identifier: Apache-2.0
// Pieces of state of a join: what is taken lies in its part, comes next and overlaps nothing. Their
// patches and what is packed, as an image takes them.
#include "state/piece.h"

#include <cstring>

#include "bits/patch.h"
#include "fuzz.h"
#include "state/intake.h"
#include "state/packed.h"

namespace exitlog {

namespace {

void put(std::vector<uint8_t>& frame, size_t at, const void* what, size_t bytes) {
  if (frame.size() < at + bytes) frame.resize(at + bytes);
  memcpy(frame.data() + at, what, bytes);
}

// A piece of ours, maybe with other numbers in it.
std::vector<uint8_t> pieceOf(Input& in, uint64_t ordinal) {
  const uint8_t mode = in.byte();
  if ((mode & 7) == 0) return in.bytes(256);
  Piece piece{in.edge(ordinal), static_cast<uint32_t>(in.upTo(4)), in.edge(0), in.edge(4096),
              nullptr, (mode & 8) != 0 ? in.upTo(2) : 0};
  const std::vector<uint8_t> data = in.bytes(512);
  if (!data.empty() && (mode & 16) != 0) {
    piece.data = data.data();
    if ((mode & 32) != 0) {
      piece.patchBytes = data.size();
      piece.isPacked = (mode & 64) != 0;
    } else {
      piece.bytes = data.size();
    }
  }
  std::vector<uint8_t> frame(sizeof(StateHead) + paddedTo8(piece.dataBytes()));
  if (piece.data != nullptr) put(frame, sizeof(StateHead), data.data(), data.size());
  frame.resize(sealPiece(frame.data(), piece));
  if ((mode & 128) != 0) {
    const uint64_t at = sizeof(FramePrefix) + 8 * in.upTo(9);
    const uint64_t word = in.edge(frame.size());
    put(frame, at, &word, sizeof word);
    sealControl(frame, kFrameState);
  }
  return frame;
}

void open(const Piece& piece) {
  if (piece.patchBytes == 0) {
    if (piece.data != nullptr) touch(piece.data, piece.bytes);
    return;
  }
  Unpacker unpacker;
  std::vector<uint8_t> patch(piece.data, piece.data + piece.patchBytes);
  if (piece.isPacked) patch = unpacker.unpack(piece.data, piece.patchBytes);
  must(patch.size() <= kStateDataBytesMax);
  const Exact exact(patch);
  uint64_t end = 0;
  readPatch(exact.data(), exact.size(), piece.bytes,
            [&](uint64_t at, const uint8_t* bytes, uint64_t count) {
              must(at >= end && count > 0 && at + count <= piece.bytes);
              end = at + count;
              touch(bytes, count);
            });
}

}  // namespace

void fuzz(Input& in) {
  Intake intake;
  const uint64_t parts = in.upTo(3);
  std::vector<uint64_t> sizes;
  for (uint64_t i = 0; i < parts; i++) {
    sizes.push_back(in.upTo(1 << 14));
    intake.add(sizes.back(), in.flip() ? Intake::Covers::whole : Intake::Covers::some);
  }
  const bool isJoin = in.flip();
  while (!in.isEmpty()) {
    const Exact frame(pieceOf(in, intake.taken()));
    if (!isJoin) {
      open(readPiece(frame.data(), frame.size()));
      continue;
    }
    const Piece piece = intake.take(frame.data(), frame.size());
    must(piece.part < sizes.size() && piece.offset + piece.bytes <= sizes[piece.part]);
    open(piece);
  }
  intake.end(in.upTo(4));
}

}  // namespace exitlog
