// SPDX-License-Identifier: Apache-2.0
// A VM as its committed epochs left it: memory, and the state of its devices.  What comes is
// checked and staged, and changes nothing until its epoch is committed whole.
//
// Nothing here knows a file, a socket or a clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "exitlog_abi.h"

namespace exitlog {

class Image {
 public:
  Image() = default;
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  // A piece of the epoch that comes next; the data are copied. Throws PeerError for one
  // that this VM cannot have, std::system_error without memory for a block.
  void stage(const struct exitlog_piece& piece, const uint8_t* data);
  // Everything staged, at once as far as anybody can see. @returns the epoch's number
  uint64_t commit();
  // The rest of an epoch will never come.
  void drop();

  struct Block {
    std::string name;
    uint8_t* memory;
    uint64_t bytes;
    uint64_t used;
    uint64_t seed;                // of its pages' hashes
    std::vector<uint64_t> terms;  // of the digest, by page that is used
  };
  const std::vector<Block>& blocks() const { return blocks_; }
  // QEMU's struct CheckpointState and its sections, as of the last commit.
  const std::vector<uint8_t>& devices() const { return devices_; }
  uint64_t epoch() const { return epoch_; }
  uint64_t stagedBytes() const { return stagedBytes_; }
  // QEMU's digest of the same memory (qemu/exitlog/verify/ram-digest.c).
  uint64_t ramDigest() const { return ram_; }

 private:
  struct Staged {
    struct exitlog_piece piece;
    std::vector<uint8_t> data;  // empty: all zero
  };
  void check(const struct exitlog_piece& piece, const uint8_t* data) const;
  void checkMemory(const struct exitlog_piece& piece) const;
  void takeBlocks(const uint8_t* data, uint64_t bytes);
  void write(const Staged& staged);
  void hashAgain(Block& block, uint64_t first, uint64_t end);
  void resize();
  std::vector<Block> blocks_;
  std::vector<uint64_t> used_;  // of the blocks, from the next commit on
  std::vector<Staged> staged_;
  uint64_t stagedBytes_ = 0;
  std::vector<uint8_t> stagedDevices_;
  std::vector<uint8_t> devices_;
  uint64_t epoch_ = 0;
  uint64_t ram_ = 0;  // sum of all terms
};

}  // namespace exitlog
