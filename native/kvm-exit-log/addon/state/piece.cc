// SPDX-License-Identifier: Apache-2.0
#include "state/piece.h"

#include <cinttypes>
#include <cstring>

#include "bits/checksum.h"
#include "bits/errors.h"
#include "bits/frame.h"
#include "bits/patch.h"

namespace exitlog {

namespace {

constexpr uint64_t kStateRoot = structPointer(kStateWords, 1);

// Bytes, right after the pointer.
constexpr uint64_t dataPointerOf(uint64_t bytes) { return listPointer(0, 2, bytes); }

void expect(const char* what, uint64_t expected, uint64_t found) {
  if (expected == found) return;
  throw CorruptError(format("%s: expected 0x%" PRIx64 ", found 0x%" PRIx64, what, expected, found));
}

}  // namespace

StateHead headOf(const Piece& piece) {
  const uint64_t stored = piece.dataBytes();
  const uint64_t bodyBytes = kStateHeadBytes + paddedTo8(stored);
  StateHead head{};
  head.prefix = FramePrefix{kFrameMagic, kFrameState, 0, static_cast<uint32_t>(bodyBytes), 0};
  head.segmentTable = segmentTable(bodyBytes);
  head.rootPointer = kStateRoot;
  head.body.ordinal = piece.ordinal;
  head.body.piece = {piece.part, piece.flags(), piece.offset, piece.bytes, piece.epoch};
  head.body.dataPointer = stored == 0 ? 0 : dataPointerOf(stored);
  const auto* body = reinterpret_cast<const uint8_t*>(&head) + sizeof head.prefix;
  head.body.checksum = controlChecksum(body, kStateHeadBytes, piece.data, stored);
  head.prefix.crc = crc32(&head.prefix, offsetof(FramePrefix, crc));
  return head;
}

uint64_t sealPiece(uint8_t* frame, const Piece& piece) {
  const StateHead head = headOf(piece);
  memcpy(frame, &head, sizeof head);
  const uint64_t padding = paddingOf(piece);
  if (padding > 0) memset(frame + sizeof head + piece.dataBytes(), 0, padding);
  return sizeof head.prefix + head.prefix.bodyBytes;
}

Piece readPiece(const uint8_t* bytes, size_t available) {
  const FrameView frame = readFrame(bytes, available);
  expect("frame type", kFrameState, frame.prefix.type);
  const uint64_t bodyBytes = frame.prefix.bodyBytes;
  if (bodyBytes < kStateHeadBytes) {
    throw CorruptError(format("piece: expected at least %u bytes, found %" PRIu64, kStateHeadBytes,
                              bodyBytes));
  }
  StateHead head;
  memcpy(&head, bytes, sizeof head);
  const StateBody& body = head.body;
  const struct exitlog_piece& piece = body.piece;
  expect("piece checksum", controlChecksum(frame.body, bodyBytes), body.checksum);
  expect("piece segment table", segmentTable(bodyBytes), head.segmentTable);
  expect("piece root pointer", kStateRoot, head.rootPointer);
  Piece read{body.ordinal, piece.part, piece.offset, piece.bytes, nullptr, piece.epoch};
  if (body.dataPointer != 0) {
    read.data = bytes + sizeof head;
    if ((piece.flags & kPiecePatch) != 0) read.patchBytes = listCount(body.dataPointer);
    read.isPacked = (piece.flags & kPiecePacked) != 0;
  }
  expect("piece flags", read.flags(), piece.flags);
  if (read.data != nullptr && piece.bytes == 0) {
    throw CorruptError("piece: expected at least one byte, found none");
  }
  const uint64_t stored = read.dataBytes();
  if (stored > kStateDataBytesMax) {
    throw CorruptError(format("piece: at most %u bytes of data, found %" PRIu64, kStateDataBytesMax,
                              stored));
  }
  if (read.patchBytes > 0 && piece.bytes > kPatchRangeMax) {
    throw CorruptError(format("piece: a patch of at most %" PRIu64 " bytes, found %" PRIu64,
                              kPatchRangeMax, piece.bytes));
  }
  if (stored > 0) expect("piece data pointer", dataPointerOf(stored), body.dataPointer);
  expect("piece length", kStateHeadBytes + paddedTo8(stored), bodyBytes);
  return read;
}

}  // namespace exitlog
