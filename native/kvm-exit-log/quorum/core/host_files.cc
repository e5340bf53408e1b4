// SPDX-License-Identifier: Apache-2.0
#include "core/host_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace quorum {

namespace {

// Started in the background, so that the sync at the end has little left to do.
constexpr uint64_t kWritebackBytes = 8u << 20;
constexpr size_t kPartsMax = 256;

[[noreturn]] void failed(const std::string& what) {
  const int error = errno;
  throw DiskError(error, what + ": " + strerror(error));
}

class HostFile final : public File {
 public:
  HostFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~HostFile() override { close(fd_); }

  uint64_t size() override {
    struct stat found {};
    if (fstat(fd_, &found) < 0) failed("size of " + path_);
    return static_cast<uint64_t>(found.st_size);
  }

  void read(uint64_t offset, void* bytes, size_t count) override {
    auto* into = static_cast<uint8_t*>(bytes);
    while (count > 0) {
      const ssize_t got = pread(fd_, into, count, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got == 0) errno = EIO;
      if (got <= 0) failed("read of " + path_);
      into += got;
      offset += static_cast<uint64_t>(got);
      count -= static_cast<size_t>(got);
    }
  }

  void write(uint64_t offset, const Part* parts, size_t count) override {
    const uint64_t begin = offset;
    while (count > 0) {
      const size_t now = std::min(count, kPartsMax);
      offset += writeSome(offset, parts, now);
      parts += now;
      count -= now;
    }
    if (begin / kWritebackBytes != offset / kWritebackBytes) {
      sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE);
    }
  }

  void truncate(uint64_t bytes) override {
    if (ftruncate(fd_, static_cast<off_t>(bytes)) < 0) failed("truncation of " + path_);
  }

  void sync() override {
    if (fdatasync(fd_) < 0) failed("sync of " + path_);
  }

 private:
  uint64_t writeSome(uint64_t offset, const Part* parts, size_t count) {
    struct iovec left[kPartsMax];
    uint64_t due = 0;
    for (size_t i = 0; i < count; i++) {
      left[i] = {const_cast<void*>(parts[i].bytes), parts[i].count};
      due += parts[i].count;
    }
    uint64_t done = 0;
    for (struct iovec* at = left; done < due;) {
      const ssize_t put = pwritev(fd_, at, static_cast<int>(left + count - at),
                                  static_cast<off_t>(offset + done));
      if (put < 0 && errno == EINTR) continue;
      if (put == 0) errno = EIO;
      if (put <= 0) failed("write of " + path_);
      done += static_cast<uint64_t>(put);
      auto rest = static_cast<size_t>(put);
      for (; rest > 0 && rest >= at->iov_len; at++) rest -= at->iov_len;
      if (rest > 0) {
        at->iov_base = static_cast<uint8_t*>(at->iov_base) + rest;
        at->iov_len -= rest;
      }
    }
    return due;
  }

  const int fd_;
  const std::string path_;
};

}  // namespace

HostFiles::HostFiles(std::string dir, bool isLocked) : dir_(std::move(dir)) {
  if (!isLocked) return;
  lock_ = ::open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) failed(dir_);
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  close(lock_);
  errno = error;
  failed(dir_ + " is another replica's, or its disk has not done all that it was asked");
}

HostFiles::~HostFiles() {
  if (lock_ >= 0) close(lock_);
}

std::vector<std::string> HostFiles::list() {
  DIR* dir = opendir(dir_.c_str());
  if (dir == nullptr) failed("folder " + dir_);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(dir);
  return names;
}

std::shared_ptr<File> HostFiles::open(const std::string& name) {
  const int fd = ::open(pathOf(name).c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) failed(pathOf(name));
  return std::make_shared<HostFile>(fd, pathOf(name));
}

std::shared_ptr<File> HostFiles::create(const std::string& name) {
  const int fd = ::open(pathOf(name).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) failed(pathOf(name));
  return std::make_shared<HostFile>(fd, pathOf(name));
}

void HostFiles::rename(const std::string& from, const std::string& to) {
  if (::rename(pathOf(from).c_str(), pathOf(to).c_str()) < 0) failed(pathOf(to));
}

void HostFiles::remove(const std::string& name) {
  if (unlink(pathOf(name).c_str()) < 0) failed(pathOf(name));
}

void HostFiles::syncNames() {
  const int dir = ::open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) failed(dir_);
  const bool done = fsync(dir) == 0;
  const int error = errno;
  close(dir);
  errno = error;
  if (!done) failed("sync of " + dir_);
}

}  // namespace quorum
