// SPDX-License-Identifier: Apache-2.0
// The part of our own log that a peer still has to get, read back from the segment
// files: a backup that joins a running VM needs what was sealed before it came, and one
// that reads too slowly what did not fit the queue.
//
// Only what finding a batch needs is looked at: the peer verifies every byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace exitlog {

class Backlog {
 public:
  // `offset`: where a frame begins in the file with this number.
  Backlog(std::string dir, uint64_t index, uint64_t offset);
  ~Backlog();
  Backlog(const Backlog&) = delete;
  Backlog& operator=(const Backlog&) = delete;

  // Batches as they are in the file, one behind the other.
  struct Piece {
    const uint8_t* bytes = nullptr;  // valid until the next `read`
    size_t count = 0;
    uint64_t end = 0;  // sequence after the last of them
  };
  // At least one read of a file further: batches from `sequence` on and before `end`,
  // about a megabyte, or none yet.  All before `end` must be written: then what is
  // missing is in the next file.  Each call goes on where the last one ended.
  // False: it cannot be read, see `why`.  Without the courier's lock: it may block.
  bool read(uint64_t sequence, uint64_t end, Piece& piece, std::string& why);

 private:
  bool open(std::string& why);
  void nextFile();
  std::string path() const;
  std::string dir_;
  uint64_t index_;
  uint64_t offset_;
  int fd_ = -1;
  std::vector<uint8_t> buffer_;  // holds any frame of ours
};

}  // namespace exitlog
