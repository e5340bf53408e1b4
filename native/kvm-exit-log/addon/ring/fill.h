// SPDX-License-Identifier: Apache-2.0
// Step 6: a received batch into IN, for QEMU to replay; and, on a live VM, commands.
#pragma once

#include <cstdint>
#include <mutex>

#include "bits/frame.h"
#include "bits/layout.h"
#include "ring/shm.h"

namespace exitlog {

// The rules across batches that concern what is in them: payloads follow one another,
// positions never go back.
class Continuity {
 public:
  // Throws CorruptError if the batch does not follow those before.
  void check(const BatchView& batch, uint64_t recordDue, uint64_t dataDue) const;
  void advance(const BatchView& batch);
  Position covered() const { return covered_; }
  Position horizon() const { return horizon_; }

 private:
  Position covered_;  // horizon or last record, whichever is later
  Position horizon_;
};

class Filler {
 public:
  explicit Filler(const Shm& shm) : shm_(shm) {}

  // False if IN has no room for the whole batch now.  Verifies every byte first
  // and throws CorruptError; nothing of a refused batch is put in.
  bool fill(const uint8_t* frame, uint64_t bytes);
  // Whether IN has room for the batch in this verified frame.
  bool hasRoomFor(const uint8_t* frame) const;
  // As fill, for a batch that is verified already.
  bool fillVerified(const BatchView& batch);

  // The first batch to come is not the log's first: a replay that starts at a
  // checkpoint.  Before QEMU starts, or while it waits beside an image; before the first fill.
  void startAt(uint64_t record, uint64_t dataOffset);

  // Whether that is what comes next.
  bool isAt(uint64_t record, uint64_t dataOffset) const;

  // One command for a live VM, at its next exact position.  False if no room.
  bool command(uint16_t kind, uint16_t channel, const uint8_t* payload, uint32_t bytes);

  uint64_t pending() const;

  // Where the primary is, with nothing filled: a QEMU that waits beside an image knows by it
  // what guest time would be now.
  void hear(Position horizon);

 private:
  bool hasRoom(uint64_t records, uint64_t dataBytes) const;
  void offerHorizon(Position horizon);
  const Shm& shm_;
  Continuity put_;
  // A replay ends on the courier's thread, commands come from JavaScript's.
  std::mutex mutex_;
};

}  // namespace exitlog
