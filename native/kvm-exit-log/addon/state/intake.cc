// SPDX-License-Identifier: Apache-2.0
#include "state/intake.h"

#include <cinttypes>

#include "bits/errors.h"
#include "bits/peer_error.h"

namespace exitlog {

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw PeerError(kPeerProtocol, "it sent a piece of state that " + what);
}

}  // namespace

uint32_t Intake::add(uint64_t bytes, Covers covers) {
  parts_.push_back(Part{bytes, covers, 0});
  return static_cast<uint32_t>(parts_.size() - 1);
}

void Intake::check(const Piece& piece) const {
  if (piece.ordinal < next_) {
    refuse(format("is repeated: number %" PRIu64 " after %" PRIu64, piece.ordinal, next_ - 1));
  }
  if (piece.ordinal > next_) {
    refuse(format("comes too early: number %" PRIu64 ", %" PRIu64 " is missing", piece.ordinal,
                  next_));
  }
  if (piece.epoch != 0) {
    refuse(format("is of epoch %" PRIu64 ": a join has none", piece.epoch));
  }
  if (piece.patchBytes > 0) refuse("is a patch: a join has none");
  if (piece.bytes == 0) refuse("is empty");
  if (piece.part >= parts_.size()) {
    refuse(format("is of part %u: there are %zu", piece.part, parts_.size()));
  }
  if (piece.part < part_) {
    refuse(format("goes back: of part %u after part %u", piece.part, part_));
  }
  const Part& part = parts_[piece.part];
  // Differences and not sums: both may be anything.
  if (piece.offset > part.bytes || piece.bytes > part.bytes - piece.offset) {
    refuse(format("is out of bounds: %" PRIu64 " bytes at %" PRIu64 " of part %u, which has %"
                  PRIu64, piece.bytes, piece.offset, piece.part, part.bytes));
  }
  if (piece.offset < part.upTo) {
    refuse(format("overlaps another: at %" PRIu64 " of part %u, which has come up to %" PRIu64,
                  piece.offset, piece.part, part.upTo));
  }
  if (part.covers == Covers::whole && piece.offset != part.upTo) {
    refuse(format("leaves a gap: at %" PRIu64 " of part %u, which has come up to %" PRIu64,
                  piece.offset, piece.part, part.upTo));
  }
}

Piece Intake::take(const uint8_t* frame, size_t length) {
  Piece piece{};
  try {
    piece = readPiece(frame, length);
  } catch (const CorruptError& error) {
    refuse(std::string("is damaged: ") + error.what());
  }
  check(piece);
  next_++;
  part_ = piece.part;
  parts_[part_].upTo = piece.offset + piece.bytes;
  return piece;
}

void Intake::end(uint64_t pieces) const {
  if (pieces != next_) {
    throw PeerError(kPeerProtocol, format("pieces of state are missing: %" PRIu64 " were sent, %"
                                          PRIu64 " came", pieces, next_));
  }
  for (uint32_t i = 0; i < parts_.size(); i++) {
    const Part& part = parts_[i];
    if (part.covers == Covers::some || part.upTo == part.bytes) continue;
    throw PeerError(kPeerProtocol, format("part %u of the state is missing from byte %" PRIu64
                                          " of %" PRIu64 " on", i, part.upTo, part.bytes));
  }
}

}  // namespace exitlog
