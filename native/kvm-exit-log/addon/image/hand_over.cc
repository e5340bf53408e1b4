// SPDX-License-Identifier: Apache-2.0
#include "image/hand_over.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "bits/errors.h"
#include "bits/layout.h"

namespace exitlog {

namespace {

[[noreturn]] void fail() {
  throw std::system_error(errno, std::generic_category(), "the file by which an image is handed over");
}

class Pieces {
 public:
  void put(uint32_t part, uint64_t offset, const void* data, uint64_t bytes) {
    const uint32_t flags = data == nullptr ? 0 : EXITLOG_PIECE_DATA;
    const struct exitlog_piece piece{part, flags, offset, bytes, 0};
    append(&piece, sizeof piece);
    append(data, bytes);
    all_.resize(paddedTo8(all_.size()));
  }
  const std::vector<uint8_t>& all() const { return all_; }

 private:
  void append(const void* from, uint64_t bytes) {
    const auto* first = static_cast<const uint8_t*>(from);
    if (bytes > 0) all_.insert(all_.end(), first, first + bytes);
  }
  std::vector<uint8_t> all_;
};

void putBlocks(Pieces& pieces, const Image& image) {
  std::vector<struct exitlog_block> blocks;
  for (const Image::Block& block : image.blocks()) {
    struct exitlog_block one {};
    memcpy(one.name, block.name.data(), block.name.size());
    one.bytes = block.bytes;
    one.used = block.used;
    blocks.push_back(one);
  }
  pieces.put(EXITLOG_PART_BLOCKS, 0, blocks.data(), blocks.size() * sizeof blocks[0]);
}

void writeWhole(int fd, const std::vector<uint8_t>& bytes) {
  if (ftruncate(fd, 0) < 0) fail();
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n =
        pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail();
    done += static_cast<size_t>(n);
  }
}

}  // namespace

HandOver::HandOver() : fd_(memfd_create("understudy-hand-over", MFD_CLOEXEC)) {
  if (fd_ < 0) fail();
}

HandOver::~HandOver() { close(fd_); }

void handOver(const Image& image, int fd) {
  if (image.epoch() == 0) throw RingError("ERR_RING_STATE", "an image without an epoch cannot be handed over");
  Pieces pieces;
  putBlocks(pieces, image);
  uint32_t part = EXITLOG_PART_RAM;
  for (const Image::Block& block : image.blocks()) {
    if (!block.isShared) pieces.put(part, 0, block.memory, block.used);
    part++;
  }
  pieces.put(EXITLOG_PART_DEVICES, 0, image.devices().data(), image.devices().size());
  if (!image.packets().empty()) {
    pieces.put(EXITLOG_PART_PACKETS, 0, image.packets().data(), image.packets().size());
  }
  pieces.put(EXITLOG_PART_END, image.ordinal(), nullptr, 0);
  writeWhole(fd, pieces.all());
}

}  // namespace exitlog
