// SPDX-License-Identifier: Apache-2.0
#include "ship/patches.h"

#include <cstring>

namespace exitlog {

namespace {

// Then it goes: the backup begins to read while the next ones are gathered.
constexpr uint64_t kFrameBytes = 256u << 10;
static_assert(kFrameBytes + kPatchPageBytesMax <= kStateDataBytesMax, "");

}  // namespace

Patches::Patches(uint64_t shadowBytes) : shadow_(shadowBytes) {}

void Patches::forget() {
  shadow_.forget();
  range_ = {};
  writer_.begin(nullptr);
}

bool Patches::isOfPages(const struct exitlog_piece& piece) {
  return piece.part >= EXITLOG_PART_RAM && piece.part < EXITLOG_PART_DISK && piece.bytes > 0 &&
         piece.offset % kPageBytes == 0 && piece.bytes % kPageBytes == 0;
}

bool Patches::follows(const struct exitlog_piece& piece, uint64_t offset) const {
  const uint64_t end = range_.offset + range_.bytes;
  return range_.bytes > 0 && piece.part == range_.part && piece.epoch == range_.epoch &&
         offset >= end && offset - range_.offset <= kPatchRangeMax - kPageBytes;
}

void Patches::begin(const struct exitlog_piece& piece, uint64_t offset) {
  frame_.resize(sizeof(StateHead) + kFrameBytes + kPatchPageBytesMax + sizeof(uint64_t));
  writer_.begin(frame_.data() + sizeof(StateHead));
  range_ = {piece.part, 0, offset, 0, piece.epoch};
}

uint64_t Patches::add(const struct exitlog_piece& piece, const uint8_t* data, uint64_t page) {
  const uint64_t pages = piece.bytes / kPageBytes;
  for (; page < pages; page++) {
    const uint64_t offset = piece.offset + page * kPageBytes;
    if (!follows(piece, offset)) {
      if (!isEmpty()) return page;
      begin(piece, offset);
    } else if (writer_.bytes() > kFrameBytes) {
      return page;
    }
    writer_.keep(offset - range_.offset - range_.bytes);
    range_.bytes = offset + kPageBytes - range_.offset;
    const uint8_t* now = data + page * kPageBytes;
    uint8_t* before = shadow_.find(piece.part, offset / kPageBytes);
    if (before != nullptr) {
      writer_.difference(now, before);
      continue;
    }
    before = shadow_.add(piece.part, offset / kPageBytes);
    if (before != nullptr) memcpy(before, now, kPageBytes);
    writer_.give(before != nullptr ? before : now);
  }
  return page;
}

void Patches::zero(const struct exitlog_piece& piece) {
  shadow_.zero(piece.part, piece.offset / kPageBytes, piece.bytes / kPageBytes);
}

bool Patches::take(Piece& piece) {
  const bool hasSome = !isEmpty();
  piece = Piece{0, range_.part, range_.offset, range_.bytes, frame_.data() + sizeof(StateHead),
                range_.epoch, writer_.bytes()};
  range_ = {};
  writer_.begin(nullptr);
  return hasSome;
}

}  // namespace exitlog
