// SPDX-License-Identifier: Apache-2.0
#include "store/backlog.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>

#include "bits/errors.h"
#include "bits/frame.h"
#include "store/segment.h"

namespace exitlog {

namespace {

struct Head {
  bool isBatch;
  uint64_t length;
  uint64_t sequence;  // of a batch
};

// False: not enough of the frame is there to say. Throws CorruptError.
bool headOf(const uint8_t* bytes, size_t have, Head& head) {
  FramePrefix prefix;
  if (have < sizeof prefix) return false;
  memcpy(&prefix, bytes, sizeof prefix);
  head = Head{prefix.type == kFrameBatch, frameLength(bytes), 0};
  if (head.length > kBatchFrameBytesMax) {
    throw CorruptError(format("a frame of %" PRIu64 " bytes", head.length));
  }
  if (!head.isBatch) return true;
  BatchHead batch;
  if (have < sizeof prefix + sizeof batch) return false;
  memcpy(&batch, bytes + sizeof prefix, sizeof batch);
  head.sequence = batch.header.sequence;
  return true;
}

}  // namespace

FileBacklog::FileBacklog(std::string dir, LogPlace from)
    : dir_(std::move(dir)), index_(from.segment), offset_(from.offset),
      buffer_(kBatchFrameBytesMax) {}

FileBacklog::~FileBacklog() {
  if (fd_ >= 0) close(fd_);
}

std::string FileBacklog::path() const { return Segment::pathOf(dir_, index_); }

bool FileBacklog::open(std::string& why) {
  if (fd_ >= 0) return true;
  fd_ = ::open(path().c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) why = std::string(strerror(errno)) + ": " + path();
  return fd_ >= 0;
}

void FileBacklog::nextFile() {
  close(fd_);
  fd_ = -1;
  index_++;
  offset_ = 0;
}

bool FileBacklog::read(uint64_t sequence, uint64_t end, Piece& piece, std::string& why) {
  piece = Piece{buffer_.data(), 0, sequence};
  if (!open(why)) return false;
  ssize_t got;
  do {
    got = pread(fd_, buffer_.data(), buffer_.size(), static_cast<off_t>(offset_));
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    why = std::string(strerror(errno)) + ": " + path();
    return false;
  }
  if (got == 0) {
    nextFile();
    return true;
  }
  const size_t have = static_cast<size_t>(got);
  size_t at = 0;  // of the frame that is looked at
  Head head;
  try {
    while (piece.end < end && headOf(buffer_.data() + at, have - at, head)) {
      const bool isPassed =
          piece.count == 0 && (head.isBatch ? head.sequence < sequence : offset_ + at == 0);
      if (!isPassed && (!head.isBatch || head.sequence != piece.end)) {
        const std::string found =
            head.isBatch ? format("batch %" PRIu64, head.sequence) : "another frame";
        throw CorruptError(format("%s where batch %" PRIu64 " should be", found.c_str(), piece.end));
      }
      if (!isPassed && head.length > have - at) break;
      if (!isPassed) {
        if (piece.count == 0) piece.bytes = buffer_.data() + at;
        piece.count += static_cast<size_t>(head.length);
        piece.end++;
      }
      at += static_cast<size_t>(head.length);
      if (at >= have) break;
    }
    // Anything wanted is whole in the file: a frame that ends with the file does not.
    if (at == 0) {
      throw CorruptError(format("the file ends in the middle of a frame, %zu bytes of it are there",
                                have));
    }
  } catch (const CorruptError& error) {
    why = path() + format(", byte %" PRIu64 ": ", offset_ + at) + error.what();
    return false;
  }
  offset_ += at;
  return true;
}

}  // namespace exitlog
