// SPDX-License-Identifier: Apache-2.0
#include "image/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace exitlog {

namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

ImageMemory::ImageMemory(uint64_t bytes) : bytes_(bytes) {
  try {
    fd_ = memfd_create("understudy-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd_ < 0) fail("memfd_create");
    if (ftruncate(fd_, static_cast<off_t>(bytes)) < 0) fail("ftruncate of an image's memory");
    // Nobody may shrink it: that would make our next access a SIGBUS.
    if (fcntl(fd_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
      fail("sealing of an image's memory");
    }
    void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
    if (map == MAP_FAILED) fail("mmap of an image's memory");
    data_ = static_cast<uint8_t*>(map);
  } catch (...) {
    close();
    throw;
  }
}

ImageMemory::~ImageMemory() { close(); }

void ImageMemory::close() {
  if (data_ != nullptr) munmap(data_, bytes_);
  if (fd_ >= 0) ::close(fd_);
}

void ImageMemory::read(uint64_t offset, uint64_t bytes, uint8_t* into) const {
  for (uint64_t done = 0; done < bytes;) {
    const ssize_t n = pread(fd_, into + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("cannot read an image's memory");
    done += static_cast<uint64_t>(n);
  }
}

void ImageMemory::zero(uint64_t offset, uint64_t bytes) const {
  int result;
  do {
    result = fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(bytes));
  } while (result < 0 && errno == EINTR);
  if (result < 0) fail("cannot zero an image's memory");
}

}  // namespace exitlog
