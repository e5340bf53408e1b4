// SPDX-License-Identifier: Apache-2.0
// A VM as its committed epochs left it: memory, and the state of its devices.  What comes is
// checked and staged, and changes nothing until its epoch is committed whole.
//
// Nothing here knows a path, a socket, a clock or JavaScript; one thread at a time calls it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "exitlog_abi.h"
#include "image/disks.h"
#include "image/references.h"

namespace exitlog {

class ImageMemory;

class Image {
 public:
  static constexpr uint64_t kPageBytes = 4096;

  // Both stay the caller's, and outlive this; null: main memory is private to the image, and
  // the VM has no disk that is kept. The disks are equal to the VM's at power-on. Who waits
  // with that memory has to wait (EXITLOG_STATE_WAITING) before the first commit, which
  // clears all of it. `stagedBytesMax`: no more of an epoch is kept.
  explicit Image(const ImageMemory* memory = nullptr, DiskWriter* disks = nullptr,
                 uint64_t stagedBytesMax = UINT64_MAX)
      : memory_(memory), disks_(disks), stagedBytesMax_(stagedBytesMax) {}
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  // A piece of the epoch that comes next; the data are copied. Throws PeerError for one
  // that this VM cannot have; std::system_error, std::bad_alloc without memory for it, or where it
  // would be more than is kept of an epoch: that one can never be committed.
  void stage(const struct exitlog_piece& piece, const uint8_t* data, uint64_t dataBytes);
  // Whether there is something for `prepare` to do.
  bool mustPrepare() const { return disks_ != nullptr && !writes_.empty() && !isPrepared_; }
  // The disks' writes of what is staged can be done again from here on; `commit` and `finish` see
  // to it themselves where nobody has before. It may block. Throws like `commit`.
  void prepare();
  // What is staged has all that every epoch has.
  bool isWhole() const { return !blocks_.empty() && !stagedDevices_.empty(); }
  // Everything staged, at once as far as anybody can see; `ordinal`: of the epoch's CHECKPOINT
  // record. Throws what the DiskWriter throws, or std::system_error: what is staged is still
  // there, and nobody may go on from this image until a later try has succeeded.
  // @returns the epoch's number
  uint64_t commit(uint64_t ordinal);
  // Writes are staged whose data are what memory is after their epoch, which has to be whole.
  bool refers() const { return referredBytes_ > 0; }
  // The VM has ended within an epoch: its disks are as it left them. Throws like `commit`; not
  // if it refers.
  void finish();
  // The rest of an epoch will never come.
  void drop();
  // The disks are somebody else's from here on. Throws like `commit`.
  void leaveDisks();

  struct Block {
    std::string name;
    uint8_t* memory;
    uint64_t bytes;
    uint64_t used;
    bool isShared;  // it is ImageMemory's
    uint64_t seed;                // of its pages' hashes
    std::vector<uint64_t> terms;  // of the digest, by page that is used
  };
  const std::vector<Block>& blocks() const { return blocks_; }
  // A block's memory as it is now, holes and all. Throws std::system_error.
  void read(const Block& block, uint64_t offset, uint64_t bytes, uint8_t* into) const;
  // QEMU's struct CheckpointState and its sections, as of the last commit.
  const std::vector<uint8_t>& devices() const { return devices_; }
  // Packets that had not left then (struct exitlog_packet), for whoever goes on.
  const std::vector<uint8_t>& packets() const { return packets_; }
  // The last commit: its number, from 1, and the ordinal of its CHECKPOINT record.
  uint64_t epoch() const { return epoch_; }
  uint64_t ordinal() const { return ordinal_; }
  uint64_t stagedBytes() const { return stagedBytes_; }
  // Sum of all blocks that were heard of.
  uint64_t memoryBytes() const;
  // QEMU's digest of the same memory (qemu/exitlog/verify/ram-digest.c).
  uint64_t ramDigest() const { return ram_; }

 private:
  struct Staged {
    struct exitlog_piece piece;
    std::vector<uint8_t> data;  // empty: all zero
  };
  void check(const struct exitlog_piece& piece, const uint8_t* data, uint64_t dataBytes) const;
  void checkMemory(const struct exitlog_piece& piece) const;
  void checkPatch(const struct exitlog_piece& piece, const uint8_t* data,
                  uint64_t dataBytes) const;
  // To a disk: of its data, of zeros, or of what it refers to.
  struct StagedWrite {
    uint64_t disk;
    uint64_t offset;
    uint64_t bytes;
    std::vector<uint8_t> data;
    std::optional<struct exitlog_reference> reference;
    bool isAfter() const {
      return reference && (reference->flags & EXITLOG_REFERENCE_BEFORE) == 0;
    }
  };
  void checkDisk(uint64_t number, uint64_t offset, uint64_t bytes) const;
  void checkReferences(const struct exitlog_piece& piece, const uint8_t* data) const;
  void stageDevices(const struct exitlog_piece& piece, const uint8_t* data, uint64_t dataBytes);
  void stageWrite(const struct exitlog_piece& piece, const uint8_t* data);
  void stageReferences(const uint8_t* data, uint64_t bytes);
  void makeBlock(const std::string& name, uint64_t bytes);
  void takeBlocks(const uint8_t* data, uint64_t bytes);
  void writeDisks();
  void resolve();
  std::vector<DiskWrite> diskWrites();
  void dropWrites();
  void write(const Staged& staged);
  void patch(const Staged& staged);
  void hashAgain(Block& block, uint64_t first, uint64_t end, bool isZero);
  void resize();
  const ImageMemory* memory_;
  DiskWriter* disks_;
  const uint64_t stagedBytesMax_;
  std::vector<Block> blocks_;
  std::vector<uint64_t> used_;  // of the blocks, from the next commit on
  std::vector<Staged> staged_;  // of memory
  std::vector<StagedWrite> writes_;
  uint64_t referredBytes_ = 0;  // by them
  // Once they can be done again: what they come to, in memory of the image and of what is staged.
  bool isPrepared_ = false;
  std::vector<DiskWrite> prepared_;
  MemoryAfter after_;
  uint64_t stagedBytes_ = 0;
  std::vector<uint8_t> stagedDevices_;
  std::vector<uint8_t> devices_;
  std::vector<uint8_t> stagedPackets_;
  std::vector<uint8_t> packets_;
  uint64_t epoch_ = 0;
  uint64_t ordinal_ = 0;
  uint64_t ram_ = 0;  // sum of all terms
};

}  // namespace exitlog
