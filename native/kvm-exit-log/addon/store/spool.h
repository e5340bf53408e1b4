// SPDX-License-Identifier: Apache-2.0
// Frames for a backup that is not there yet, in their order: a file without a name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace exitlog {

class Spool {
 public:
  // In this folder. Throws std::system_error.
  explicit Spool(const std::string& dir);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Throws std::system_error: nothing of it counts any more.
  void append(const uint8_t* frame, uint64_t count);
  // The next bytes, any number of frames or parts of them; valid until the next call. False: that
  // was all. Throws std::system_error.
  bool next(const uint8_t*& bytes, uint64_t& count);
  uint64_t bytes() const { return end_; }

 private:
  int fd_;
  uint64_t end_ = 0;
  uint64_t at_ = 0;
  std::vector<uint8_t> piece_;
};

}  // namespace exitlog
