// SPDX-License-Identifier: Apache-2.0
#include "store/segment.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "bits/checksum.h"
#include "bits/clock.h"
#include "bits/errors.h"
#include "bits/layout.h"
#include "store/backlog.h"

namespace exitlog {

namespace {

// Written back by the system in the background, so that finishing a file is short.
constexpr uint64_t kWritebackBytes = 8u << 20;

bool writeAll(int fd, const uint8_t* bytes, uint64_t count, uint64_t offset) {
  while (count > 0) {
    const ssize_t wrote = pwrite(fd, bytes, count, static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      if (wrote == 0) errno = EIO;
      return false;
    }
    bytes += wrote;
    count -= static_cast<uint64_t>(wrote);
    offset += static_cast<uint64_t>(wrote);
  }
  return true;
}

void putHeader(std::vector<uint8_t>& frame, uint64_t index, uint64_t firstSequence,
               uint32_t term) {
  uint8_t* body = frame.data() + sizeof(FramePrefix);
  uint8_t* data = body + 16;  // after segment table and root pointer
  const auto index32 = static_cast<uint32_t>(index);
  const uint64_t now = realtimeNs();
  memcpy(data + kSegmentTermAt, &term, sizeof term);
  memcpy(data + kSegmentIndexAt, &index32, sizeof index32);
  memcpy(data + kSegmentFirstSequenceAt, &firstSequence, sizeof firstSequence);
  memcpy(data + kSegmentCreatedAtNsAt, &now, sizeof now);
  const uint64_t checksum = controlChecksum(body, frame.size() - sizeof(FramePrefix));
  memcpy(data, &checksum, sizeof checksum);
}

}  // namespace

Segment::Segment(SegmentStart start) : start_(std::move(start)), offset_(start_.offset) {
  if (start_.header.size() < sizeof(FramePrefix) + 16 + kSegmentDataBytes) {
    throw RangeFault("the segment header is too short");
  }
  bytesWritten = start_.offset;
  segment = start_.index;
}

Segment::~Segment() {
  if (start_.fd >= 0) close(start_.fd);
}

std::string Segment::pathOf(const std::string& dir, uint64_t index) {
  return dir + format("/%06llu.udl", static_cast<unsigned long long>(index));
}

bool Segment::failed(WriteFault& fault, int error, const std::string& what) {
  fault = WriteFault{error, what};
  return false;
}

__attribute__((noinline)) bool Segment::append(const uint8_t* bytes, uint64_t count,
                                               WriteFault& fault) {
  if (!writeAll(start_.fd, bytes, count, offset_)) {
    const int error = errno;
    // Half a batch is of no use to anybody, and a reader can do with or without it.
    if (ftruncate(start_.fd, static_cast<off_t>(offset_)) < 0) errno = error;
    return failed(fault, error, path());
  }
  if (offset_ / kWritebackBytes != (offset_ + count) / kWritebackBytes) {
    // Starts it only; where the system cannot, the sync at the end takes longer.
    sync_file_range(start_.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  }
  offset_ += count;
  hasBatch_ = true;
  return true;
}

std::shared_ptr<Backlog> Segment::backlog(LogPlace from) const {
  return std::make_shared<FileBacklog>(start_.dir, from);
}

bool Segment::sync(WriteFault& fault) {
  return fdatasync(start_.fd) == 0 || failed(fault, errno, path());
}

// The old file is on the disk before the next one gets anything: only the end of the
// last file may be torn, also after a crash of the host.
bool Segment::roll(WriteFault& fault) {
  if (!sync(fault)) return false;
  close(start_.fd);
  start_.fd = -1;
  start_.index++;
  start_.fd = open(path().c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (start_.fd < 0) return failed(fault, errno, path());
  putHeader(start_.header, start_.index, rollSequence, rollTerm);
  if (!writeAll(start_.fd, start_.header.data(), start_.header.size(), 0)) {
    return failed(fault, errno, path());
  }
  offset_ = start_.header.size();
  hasBatch_ = false;
  const int dir = open(start_.dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return failed(fault, errno, start_.dir);
  // A new file's name is not made durable by its own fsync.
  const bool synced = fsync(dir) == 0;
  const int error = errno;
  close(dir);
  return synced || failed(fault, error, start_.dir);
}

bool Segment::finish(WriteFault& fault) {
  const bool synced = start_.fd < 0 || sync(fault);
  if (start_.fd >= 0) close(start_.fd);
  start_.fd = -1;
  return synced;
}

void Syncer::own(Segment& segment) {
  segments_.push_back(&segment);
  segment.asked = [this] { wake(); };
}

void Syncer::wake() {
  if (!thread_.joinable() && !stopping_) {
    thread_ = std::thread([this] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      pthread_setname_np(pthread_self(), "log-sync");
      run();
    });
  }
  changed_.notify_one();
}

void Syncer::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Syncer::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopping_) {
    Segment* next = nullptr;
    for (Segment* s : segments_) {
      if ((s->wantSync && !s->faulty) || s->wantRoll || (s->wantFinish && !s->finished)) next = s;
    }
    if (next == nullptr) {
      changed_.wait(lock);
      continue;
    }
    const uint64_t end = next->writtenEnd;
    const bool roll = next->wantRoll;
    const bool finish = !roll && next->wantFinish;
    WriteFault fault{};
    next->wantSync = false;
    next->syncing = true;
    next->syncingSinceNs = monotonicNs();
    lock.unlock();
    const bool isReady = roll || finish || !next->beforeSync || next->beforeSync(fault);
    const bool done = isReady && (roll     ? next->faulty || next->roll(fault)
                                  : finish ? next->finish(fault)
                                           : next->sync(fault));
    lock.lock();
    next->syncing = false;
    if (done) {
      next->syncedEnd = end;
      if (roll) {
        next->bytesWritten += next->start_.header.size();
        next->segment = next->start_.index;
      }
    } else if (!next->faulty) {
      next->fail(fault);
    }
    if (roll) next->wantRoll = false;
    if (finish) next->finished = true;
    done_();
  }
}

}  // namespace exitlog
