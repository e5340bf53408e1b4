// SPDX-License-Identifier: Apache-2.0
// Reads a file of a VM's state and frames what a peer lacks of it: all, or the blocks whose
// hash differs from the peer's. Holes are not read, and zeros not sent. It may block: a
// thread of the pool calls it, one at a time.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "state/piece.h"

namespace exitlog {

// Frames, as slices of one buffer.
class Chunk {
 public:
  struct Slice {
    const uint8_t* bytes;
    size_t count;
  };
  static constexpr size_t kDataBytes = kStateDataBytesMax;

  const std::vector<Slice>& slices() const { return slices_; }
  uint64_t pieces() const { return slices_.size(); }
  // How far of its file it goes.
  uint64_t upTo = 0;

 private:
  friend class FileReader;
  // A head before the data; one more, or padding, behind.
  static constexpr size_t kRoom = kDataBytes + 2 * sizeof(StateHead);
  std::unique_ptr<uint8_t[]> room_{new uint8_t[kRoom]};
  std::vector<Slice> slices_;
};

class FileReader {
 public:
  // What the peer has: xxh64 (seed 0) of each block. Absent: nothing.
  using Hashes = std::optional<std::vector<uint64_t>>;

  // The first piece will have `ordinal`. `blockBytes`: at most Chunk::kDataBytes.
  FileReader(std::string path, uint32_t part, Hashes have, size_t blockBytes, uint64_t ordinal);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  // The next pieces, maybe none, in place of those in the chunk. Throws std::system_error:
  // EIO also where the file has not the length that the hashes are of, or shrinks.
  void read(Chunk& chunk);
  bool isOver() const { return isOpen() && at_ >= end_; }
  uint64_t ordinal() const { return ordinal_; }

 private:
  enum class Block { known, zero, data };
  bool isOpen() const { return fd_ >= 0; }
  void open();
  void readHole(Chunk& chunk, off_t to);
  void readData(Chunk& chunk, off_t firstByte);
  Block look(const uint8_t* bytes, size_t count, size_t index) const;
  bool isKnownZero(size_t index, size_t count) const;
  void add(Chunk& chunk, uint8_t* frame, off_t offset, size_t bytes, bool isZero);
  [[noreturn]] void fail(int error) const;

  const std::string path_;
  const uint32_t part_;
  const Hashes have_;
  const off_t block_;
  const uint64_t zeroHash_;  // of a whole block
  uint64_t ordinal_;
  int fd_ = -1;
  off_t at_ = 0;  // at a block's begin, or the end
  off_t end_ = 0;
};

}  // namespace exitlog
