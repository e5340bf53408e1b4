// SPDX-License-Identifier: Apache-2.0
// The guest's main memory of an image, which the QEMU that waits beside it has as its own.
#pragma once

#include <cstdint>

namespace exitlog {

class ImageMemory {
 public:
  // What QEMU calls the block (src/vm/qemu-args.ts).
  static constexpr const char* kBlock = "pc.ram";

  // All of it is zero. Throws std::system_error.
  explicit ImageMemory(uint64_t bytes);
  ~ImageMemory();
  ImageMemory(const ImageMemory&) = delete;
  ImageMemory& operator=(const ImageMemory&) = delete;

  // For QEMU to inherit; valid as long as this is.
  int fd() const { return fd_; }
  uint64_t bytes() const { return bytes_; }
  uint8_t* data() const { return data_; }
  // What lies there; to look at it in `data` would fill its holes. Throws std::system_error.
  void read(uint64_t offset, uint64_t bytes, uint8_t* into) const;
  // The range reads as zeros afterwards, here and in QEMU, and takes no memory.
  void zero(uint64_t offset, uint64_t bytes) const;

 private:
  void close();
  uint64_t bytes_;
  int fd_ = -1;
  uint8_t* data_ = nullptr;
};

}  // namespace exitlog
