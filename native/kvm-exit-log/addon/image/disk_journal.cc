// SPDX-License-Identifier: Apache-2.0
#include "image/disk_journal.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "bits/checksum.h"
#include "bits/layout.h"
#include "image/journal_files.h"

namespace exitlog {

DiskJournal::DiskJournal(const std::vector<std::string>& paths, bool durable)
    : images_(paths), path_(paths.empty() ? "" : journalPath(paths[0])), isDurable_(durable),
      disks_(paths) {
  if (paths.empty()) return;
  try {
    make();
  } catch (...) {
    if (fd_ >= 0) close(fd_);
    throw;
  }
}

DiskJournal::~DiskJournal() {
  if (fd_ < 0) return;
  try {
    if (!hasBegun_) {
      disks_.sync();
      remove();
    }
  } catch (const std::exception&) {
    // It stays, and whoever starts from these disks finds it.
  }
  if (fd_ >= 0) close(fd_);
}

void DiskJournal::fail(const std::string& path) const {
  throw std::system_error(errno, std::generic_category(), path);
}

void DiskJournal::make() {
  if (images_.size() > kJournalDisksMax) {
    throw std::system_error(E2BIG, std::generic_category(), path_);
  }
  head_.magic = kJournalMagic;
  head_.version = kJournalVersion;
  head_.flags = isDurable_ ? kJournalDurable : 0;
  if (getrandom(head_.id, sizeof head_.id, 0) != sizeof head_.id) fail("getrandom");
  readBootId(head_.boot);
  head_.disks = images_.size();
  for (size_t i = 0; i < images_.size(); i++) {
    head_.disk[i] = JournalDisk{disks_.bytes(i), disks_.inode(i)};
  }
  head_.checksum = headChecksum(head_);
  const std::string begun = path_ + ".new";
  fd_ = open(begun.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) fail(begun);
  writeAt(fd_, &head_, sizeof head_, 0, begun);
  doneChain_ = firstChain(head_, generation_);
  putMark(0);
  if (fsync(fd_) < 0) fail(begun);
  if (rename(begun.c_str(), path_.c_str()) < 0) fail(path_);
  const std::string text = markText(head_);
  for (size_t i = 1; i < images_.size(); i++) writeFile(journalPath(images_[i]), text);
  syncFolders(images_);
}

void DiskJournal::putMark(uint64_t begunEnd) {
  JournalMark mark{};
  mark.generation = generation_;
  mark.begunEnd = begunEnd;
  mark.begunChain = begunEnd == 0 ? 0 : chain_;
  mark.checksum = markChecksum(head_, mark);
  writeAt(fd_, &mark, sizeof mark, kJournalMarkAt, path_);
}

void DiskJournal::append(const std::vector<struct iovec>& parts, uint64_t bytes) {
  std::vector<struct iovec> left(parts);
  uint64_t at = doneEnd_;
  const uint64_t end = at + bytes;
  for (size_t first = 0; at < end;) {
    const int count = static_cast<int>(std::min<size_t>(left.size() - first, IOV_MAX));
    const ssize_t n = pwritev(fd_, left.data() + first, count, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (n == 0) errno = EIO;
      const int error = errno;
      shorten();  // half an epoch takes room that somebody else may need
      errno = error;
      fail(path_);
    }
    at += static_cast<uint64_t>(n);
    fileEnd_ = std::max(fileEnd_, at);
    for (auto rest = static_cast<size_t>(n); rest > 0;) {
      struct iovec& part = left[first];
      const size_t some = std::min(rest, part.iov_len);
      part.iov_base = static_cast<uint8_t*>(part.iov_base) + some;
      part.iov_len -= some;
      rest -= some;
      if (part.iov_len == 0) first++;
    }
  }
}

void DiskJournal::prepare(uint64_t epoch, const std::vector<DiskWrite>& writes) {
  if (doneEnd_ > kSpanBytes) {
    disks_.sync();
    trim();
    if (fdatasync(fd_) < 0) fail(path_);
  }
  static const uint8_t zeros[8] = {};
  std::vector<JournalWrite> heads;
  heads.reserve(writes.size());
  JournalEpoch own{kJournalEpochMagic, epoch, writes.size(), sizeof own, doneChain_, 0};
  std::vector<struct iovec> parts{{&own, sizeof own}};
  const auto put = [&](const void* from, uint64_t bytes) {
    if (bytes == 0) return;
    parts.push_back({const_cast<void*>(from), bytes});
    own.bytes += bytes;
  };
  for (const DiskWrite& write : writes) {
    const uint32_t flags = write.data == nullptr ? 0 : kJournalData;
    heads.push_back(JournalWrite{static_cast<uint32_t>(write.disk), flags, write.offset,
                                 write.bytes});
    put(&heads.back(), sizeof heads.back());
    if (write.data == nullptr) continue;
    put(write.data, write.bytes);
    put(zeros, paddedTo8(write.bytes) - write.bytes);
  }
  Checksum sum(doneChain_);
  for (const struct iovec& part : parts) sum.add(part.iov_base, part.iov_len);
  own.checksum = sum.digest();
  append(parts, own.bytes);
  if (isDurable_ && fdatasync(fd_) < 0) fail(path_);
  end_ = doneEnd_ + own.bytes;
  chain_ = own.checksum;
}

void DiskJournal::begin(uint64_t) {
  putMark(end_);
  hasBegun_ = true;
}

void DiskJournal::end(uint64_t) {
  hasBegun_ = false;
  doneEnd_ = end_;
  doneChain_ = chain_;
  // What a host's crash may take from the disks has to be kept until they are synced.
  if (!isDurable_) trim();
}

void DiskJournal::trim() {
  generation_++;
  doneEnd_ = kJournalStart;
  doneChain_ = firstChain(head_, generation_);
  putMark(0);
  if (fileEnd_ > kSpanBytes) shorten();
}

void DiskJournal::shorten() {
  if (ftruncate(fd_, static_cast<off_t>(doneEnd_)) == 0) fileEnd_ = doneEnd_;
}

// Before anybody else writes to the disks: a journal that is redone later would undo that.
void DiskJournal::leave() {
  if (fd_ < 0) return;
  if (isDurable_) disks_.sync();
  remove();
}

void DiskJournal::remove() {
  removeJournal(images_, fd_, markText(head_));
  if (isDurable_) syncFolders(images_);
  close(fd_);
  fd_ = -1;
}

}  // namespace exitlog
