// SPDX-License-Identifier: Apache-2.0
// Step 6: a received batch into IN, for QEMU to replay; and, on a live VM, commands.
#pragma once

#include <cstdint>

#include "layout.h"
#include "shm.h"

namespace exitlog {

class Filler {
 public:
  explicit Filler(const Shm& shm) : shm_(shm) {}

  // False if IN has no room for the whole batch now.  Verifies every byte first
  // and throws CorruptError; nothing of a refused batch is put in.
  bool fill(const uint8_t* frame, uint64_t bytes);

  // One command for a live VM, at its next exact position.  False if no room.
  bool command(uint16_t kind, uint16_t channel, const uint8_t* payload, uint32_t bytes);

  uint64_t pending() const;

 private:
  bool hasRoom(uint64_t records, uint64_t dataBytes) const;
  void offerHorizon(Position horizon);
  const Shm& shm_;
  Position covered_;  // horizon or last record put in, whichever is later
  Position horizon_;
};

}  // namespace exitlog
