// SPDX-License-Identifier: Apache-2.0
// The disks of an image: what is done with the guest's writes when their epoch is committed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace exitlog {

struct DiskWrite {
  uint64_t disk;
  uint64_t offset;
  const uint8_t* data;  // null: zeros
  uint64_t bytes;
};

// All of it on the thread that commits. Throws std::system_error where it cannot be done;
// Image::commit() can then be tried again, and repeats the epoch from `begin` on.
class DiskWriter {
 public:
  virtual ~DiskWriter() = default;
  // How large a disk is; 0: there is none of this number.
  virtual uint64_t bytes(uint64_t disk) const = 0;
  // The writes of an epoch that has any, before it is acknowledged: from here on they can be
  // done again. The disks do not change. It may block.
  virtual void prepare(uint64_t epoch, const std::vector<DiskWrite>& writes) = 0;
  // The writes of an epoch that has any come next.
  virtual void begin(uint64_t epoch) = 0;
  // In the order in which the guest made them, also of several disks; data null: zeros.
  virtual void write(uint64_t disk, uint64_t offset, const uint8_t* data, uint64_t bytes) = 0;
  // These were all: from here on the disks are those of this epoch.
  virtual void end(uint64_t epoch) = 0;
  // The disks are somebody else's now.
  virtual void leave() = 0;
  // What is written up to here survives the host. A guest that goes on from the image was told
  // so of its flushes, and QEMU's own next one covers what QEMU has written only.
  virtual void sync() = 0;
};

// Raw images, written in place: a process that dies between `begin` and `end` leaves them
// between two epochs.
class DiskFiles final : public DiskWriter {
 public:
  // Throws std::system_error.
  explicit DiskFiles(const std::vector<std::string>& paths);
  ~DiskFiles() override;
  DiskFiles(const DiskFiles&) = delete;
  DiskFiles& operator=(const DiskFiles&) = delete;

  uint64_t bytes(uint64_t disk) const override;
  // A disk's file is known by it.
  uint64_t inode(uint64_t disk) const { return files_.at(disk).inode; }
  void prepare(uint64_t, const std::vector<DiskWrite>&) override {}
  void begin(uint64_t) override {}
  void write(uint64_t disk, uint64_t offset, const uint8_t* data, uint64_t bytes) override;
  void end(uint64_t) override {}
  void leave() override {}
  void sync() override;

 private:
  struct File {
    int fd;
    uint64_t bytes;
    uint64_t inode;
    std::string path;
  };
  void open(const std::string& path);
  void close();
  std::vector<File> files_;
};

}  // namespace exitlog
