// SPDX-License-Identifier: Apache-2.0
#include "transfer/file_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "bits/checksum.h"
#include "store/holes.h"

namespace exitlog {

namespace {

// Blocks that the peer has are looked at without anything to send: not for ever.
constexpr int kLooks = 16;

uint64_t hashOfZeros(size_t bytes) {
  const std::vector<uint8_t> zeros(bytes);
  return xxh64(zeros.data(), zeros.size());
}

bool isZero(const uint8_t* bytes, size_t count) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

}  // namespace

FileReader::FileReader(std::string path, uint32_t part, Hashes have, size_t blockBytes,
                       uint64_t ordinal)
    : path_(std::move(path)), part_(part), have_(std::move(have)),
      block_(static_cast<off_t>(blockBytes)), zeroHash_(hashOfZeros(blockBytes)),
      ordinal_(ordinal) {}

FileReader::~FileReader() {
  if (isOpen()) close(fd_);
}

void FileReader::fail(int error) const {
  throw std::system_error(error, std::generic_category(), "cannot read " + path_);
}

void FileReader::open() {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (!isOpen()) fail(errno);
  end_ = lseek(fd_, 0, SEEK_END);
  if (end_ < 0) fail(errno);
  if (have_ && have_->size() != static_cast<uint64_t>((end_ + block_ - 1) / block_)) fail(EIO);
}

void FileReader::read(Chunk& chunk) {
  chunk.slices_.clear();
  if (!isOpen()) open();
  for (int looks = 0; looks < kLooks && at_ < end_ && chunk.slices_.empty(); looks++) {
    // A block with data anywhere is data.
    const off_t data = dataFrom(fd_, at_, end_);
    const off_t hole = data == end_ ? end_ : data / block_ * block_;
    if (hole > at_) readHole(chunk, hole);
    else readData(chunk, data);
  }
  chunk.upTo = static_cast<uint64_t>(at_);
  // A hole that was cut off looks like one that is there.
  if (at_ >= end_ && lseek(fd_, 0, SEEK_END) < end_) fail(EIO);
}

void FileReader::add(Chunk& chunk, uint8_t* frame, off_t offset, size_t bytes, bool isZero) {
  const uint8_t* data = isZero ? nullptr : frame + sizeof(StateHead);
  const Piece piece{ordinal_++, part_, static_cast<uint64_t>(offset), bytes, data};
  chunk.slices_.push_back(Chunk::Slice{frame, static_cast<size_t>(sealPiece(frame, piece))});
}

bool FileReader::isKnownZero(size_t index, size_t count) const {
  if (!have_) return false;
  const bool isWhole = count == static_cast<size_t>(block_);
  return (*have_)[index] == (isWhole ? zeroHash_ : hashOfZeros(count));
}

// Runs of zeros that the peer has not, as far as the chunk has room for their heads.
void FileReader::readHole(Chunk& chunk, off_t to) {
  uint8_t* frame = chunk.room_.get();
  const uint8_t* const roomEnd = frame + Chunk::kRoom;
  while (at_ < to && roomEnd - frame >= static_cast<ptrdiff_t>(sizeof(StateHead))) {
    const off_t from = at_;
    const auto isNews = [&] {
      const size_t count = static_cast<size_t>(std::min(block_, to - at_));
      return !isKnownZero(static_cast<size_t>(at_ / block_), count);
    };
    if (!have_) at_ = to;
    while (at_ < to && isNews()) at_ = std::min(to, at_ + block_);
    if (at_ > from) {
      add(chunk, frame, from, static_cast<size_t>(at_ - from), true);
      frame += sizeof(StateHead);
    }
    while (at_ < to && !isNews()) at_ = std::min(to, at_ + block_);
  }
}

FileReader::Block FileReader::look(const uint8_t* bytes, size_t count, size_t index) const {
  if (isZero(bytes, count)) return isKnownZero(index, count) ? Block::known : Block::zero;
  // An empty image's blocks need no hash to differ.
  if (!have_ || (*have_)[index] == zeroHash_) return Block::data;
  return (*have_)[index] == xxh64(bytes, count) ? Block::known : Block::data;
}

// Up to a hole, or a full chunk; `firstByte` is in the first block. The first run's head has
// room of its own; between two runs of data lies a block at least that is not sent: there is
// room for the heads after it.
void FileReader::readData(Chunk& chunk, off_t firstByte) {
  uint8_t* const data = chunk.room_.get() + sizeof(StateHead);
  // Before the first byte there may be one as well.
  const off_t hole = holeFrom(fd_, firstByte, end_);
  const off_t upTo = std::min(end_, (hole + block_ - 1) / block_ * block_);
  const off_t room = static_cast<off_t>(Chunk::kDataBytes) / block_ * block_;
  const size_t count = static_cast<size_t>(std::min(upTo - at_, room));
  for (size_t got = 0; got < count;) {
    const ssize_t n = pread(fd_, data + got, count - got, at_ + static_cast<off_t>(got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail(n < 0 ? errno : EIO);
    got += static_cast<size_t>(n);
  }
  const size_t block = static_cast<size_t>(block_);
  const size_t firstIndex = static_cast<size_t>(at_ / block_);
  size_t from = 0;
  Block kind = Block::known;
  const auto finish = [&](size_t to) {
    if (to == from || kind == Block::known) return;
    const bool zero = kind == Block::zero;
    uint8_t* frame = data + from - (zero ? 0 : sizeof(StateHead));
    add(chunk, frame, at_ + static_cast<off_t>(from), to - from, zero);
  };
  for (size_t at = 0; at < count; at += block) {
    const Block now = look(data + at, std::min(block, count - at), firstIndex + at / block);
    if (now == kind) continue;
    finish(at);
    from = at;
    kind = now;
  }
  finish(count);
  at_ += static_cast<off_t>(count);
}

}  // namespace exitlog
