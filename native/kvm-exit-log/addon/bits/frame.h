// SPDX-License-Identifier: Apache-2.0
// Verification of bytes that came from a peer or a disk.  Nothing here believes a
// length or an offset before it was compared with what is really there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bits/errors.h"
#include "bits/layout.h"

namespace exitlog {

// A log of a version this build does not know; its other bytes are as intended.
struct VersionError : CorruptError {
  using CorruptError::CorruptError;
};

struct FrameView {
  FramePrefix prefix;
  const uint8_t* body;
  uint64_t totalBytes;
};

struct BatchView {
  BatchHead head;
  const uint8_t* records;  // maybe unaligned
  const uint8_t* data;
};

// Invariants of records in their order: known kinds, positions that never decrease
// and do not precede the horizon already given, payloads one after the other
// inside the bytes that there are.  Used when sealing and when filling, so that a
// primary cannot make what a backup refuses.
class RecordChecker {
 public:
  RecordChecker(uint64_t ordinal, uint64_t dataFrom, uint64_t dataTo, Position notBefore)
      : ordinal_(ordinal), cursor_(dataFrom), dataTo_(dataTo), last_(notBefore) {}
  void check(const struct exitlog_record& record);
  // End of the last payload, padded.
  uint64_t cursor() const { return cursor_; }
  Position last() const { return last_; }

 private:
  uint64_t ordinal_;
  uint64_t cursor_;
  uint64_t dataTo_;
  Position last_;
};

// Bytes of the whole frame whose prefix (16 bytes) is there: what a reader of a stream
// waits for.  Throws CorruptError for a prefix that is none of ours.
uint64_t frameLength(const uint8_t* prefix);

// The prefix, and that the whole frame is there. Throws CorruptError.
FrameView readFrame(const uint8_t* bytes, size_t available);

// Everything about a batch that can be said without the batches around it.
BatchView readBatch(const FrameView& frame);

// A control message: its shape at the root, and its checksum.
void checkControl(const FrameView& frame);

// The payloads of CHAR_OUT, of one channel or (-1) of all, appended to `to`.
void joinCharOut(const BatchView& batch, int64_t channel, std::vector<uint8_t>& to);

struct exitlog_record recordAt(const BatchView& batch, uint32_t index);

}  // namespace exitlog
