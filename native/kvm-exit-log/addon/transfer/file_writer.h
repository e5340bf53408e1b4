// SPDX-License-Identifier: Apache-2.0
// Writes the pieces that come into the files that they are of, after the intake has found
// nothing wrong with them. It may block: a thread of the pool calls it, one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "state/intake.h"

namespace exitlog {

class FileWriter {
 public:
  struct Target {
    int fd;  // of its own from then on
    uint64_t bytes;
    Intake::Covers covers;
  };
  FileWriter() = default;
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  // Not while a thread works. The next part.
  void add(const Target& target);
  // Nothing is written to a part before. Not while a thread works.
  void open(uint32_t part) { parts_[part].isOpen = true; }

  enum class Step { written, shut };
  // The next STATE frame. `shut`: nothing was written, its part (`waits`) has to be opened
  // first, and then `write` is called again with null. Throws PeerError for a frame that is
  // refused, std::system_error where it cannot be written (the part is `waits`).
  Step write(const uint8_t* frame, size_t length);
  uint32_t waits() const { return piece_.part; }
  // Throws PeerError.
  void end(uint64_t pieces) const { intake_.end(pieces); }

 private:
  struct Part {
    int fd;
    bool isOpen;
  };
  Intake intake_;
  std::vector<Part> parts_;
  Piece piece_{};
};

}  // namespace exitlog
