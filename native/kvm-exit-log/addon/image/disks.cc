// SPDX-License-Identifier: Apache-2.0
#include "image/disks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "store/holes.h"

namespace exitlog {

namespace {

// QEMU rounds the size of an image up to a sector, and the guest may write there.
constexpr uint64_t kSectorBytes = 512;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

DiskFiles::DiskFiles(const std::vector<std::string>& paths) {
  try {
    for (const std::string& path : paths) open(path);
  } catch (...) {
    close();
    throw;
  }
}

DiskFiles::~DiskFiles() { close(); }

void DiskFiles::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) fail(path);
  files_.push_back(File{fd, 0, 0, path});
  struct stat stats;
  if (fstat(fd, &stats) < 0) fail(path);
  files_.back().inode = stats.st_ino;
  const off_t end = lseek(fd, 0, SEEK_END);  // of a block device too
  if (end < 0) fail(path);
  files_.back().bytes = (static_cast<uint64_t>(end) + kSectorBytes - 1) & ~(kSectorBytes - 1);
}

void DiskFiles::close() {
  for (const File& file : files_) ::close(file.fd);
}

uint64_t DiskFiles::bytes(uint64_t disk) const {
  return disk < files_.size() ? files_[disk].bytes : 0;
}

void DiskFiles::sync() {
  for (const File& file : files_) {
    if (fdatasync(file.fd) < 0) fail(file.path);
  }
}

void DiskFiles::write(uint64_t disk, uint64_t offset, const uint8_t* data, uint64_t bytes) {
  const int fd = files_.at(disk).fd;
  if (data == nullptr) {
    zeroRange(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes));
    return;
  }
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t n = pwrite(fd, data + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(files_[disk].path);
    done += static_cast<uint64_t>(n);
  }
}

}  // namespace exitlog
