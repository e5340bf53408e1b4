// SPDX-License-Identifier: Apache-2.0
// A replica's folder as its log and its vote see it. On a host these are files
// (host_files.h); the simulation has a disk that forgets what was not synced.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace quorum {

// A disk did not do what it was asked; whoever meets it stops.
struct DiskError : std::runtime_error {
  const int code;  // errno
  DiskError(int code, const std::string& what) : std::runtime_error(what), code(code) {}
};

struct Part {
  const void* bytes;
  size_t count;
};

class File {
 public:
  virtual ~File() = default;
  virtual uint64_t size() = 0;
  // All of them, or throws.
  virtual void read(uint64_t offset, void* bytes, size_t count) = 0;
  virtual void write(uint64_t offset, const Part* parts, size_t count) = 0;
  virtual void truncate(uint64_t bytes) = 0;
  // What was written before is on the disk afterwards. Any thread.
  virtual void sync() = 0;

  void write(uint64_t offset, const void* bytes, size_t count) {
    const Part part{bytes, count};
    write(offset, &part, 1);
  }
};

// Any thread, as long as no two are about one name.
class Files {
 public:
  virtual ~Files() = default;
  virtual std::vector<std::string> list() = 0;
  virtual std::shared_ptr<File> open(const std::string& name) = 0;
  virtual std::shared_ptr<File> create(const std::string& name) = 0;
  virtual void rename(const std::string& from, const std::string& to) = 0;
  virtual void remove(const std::string& name) = 0;
  // Names that were made, changed or removed before are so on the disk.
  virtual void syncNames() = 0;
};

}  // namespace quorum
