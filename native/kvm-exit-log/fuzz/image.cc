// SPDX-License-Identifier: Apache-2.0
// An image that a primary fills with epochs of any pieces, references among them. After each commit
// memory is what its digest says, and the disks got nothing beyond their ends.
#include "image/image.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include "bits/errors.h"
#include "bits/layout.h"
#include "bits/peer_error.h"
#include "exitlog_hash.h"
#include "fuzz.h"
#include "image/check.h"
#include "image/memory.h"

namespace exitlog {

namespace {

constexpr uint64_t kMemoryBytes = 16 * Image::kPageBytes;
constexpr uint64_t kDiskBytes = 16384;
constexpr uint64_t kStagedBytesMax = 4u << 20;

class MemoryDisks final : public DiskWriter {
 public:
  uint64_t bytes(uint64_t disk) const override { return disk < 2 ? kDiskBytes : 0; }
  void prepare(uint64_t, const std::vector<DiskWrite>& writes) override {
    for (const DiskWrite& one : writes) look(one.disk, one.offset, one.data, one.bytes);
  }
  void begin(uint64_t) override {}
  void write(uint64_t disk, uint64_t offset, const uint8_t* data, uint64_t bytes) override {
    look(disk, offset, data, bytes);
  }
  void end(uint64_t) override {}
  void leave() override {}
  void sync() override {}

 private:
  void look(uint64_t disk, uint64_t offset, const uint8_t* data, uint64_t bytes) const {
    must(disk < 2 && offset <= kDiskBytes && bytes <= kDiskBytes - offset);
    if (data != nullptr) touch(data, bytes);
  }
};

template <class Part>
void put(std::vector<uint8_t>& bytes, const Part& part) {
  const auto* from = reinterpret_cast<const uint8_t*>(&part);
  bytes.insert(bytes.end(), from, from + sizeof part);
}

std::vector<uint8_t> blocksOf(Input& in) {
  std::vector<uint8_t> bytes;
  for (uint64_t i = 0, count = 1 + in.upTo(2); i < count; i++) {
    struct exitlog_block block {};
    strncpy(block.name, i == 0 ? ImageMemory::kBlock : i == 1 ? "vga.vram" : "rom", 255);
    block.bytes = i == 0 ? kMemoryBytes : 4 * Image::kPageBytes;
    block.used = block.bytes - in.upTo(4) * Image::kPageBytes;
    if (in.byte() == 1) block.bytes = in.edge(block.bytes) & ((1u << 26) - 1);
    if (in.byte() == 1) block.used = in.edge(block.used);
    if (in.byte() == 1) memset(block.name, 'x', sizeof block.name);
    put(bytes, block);
  }
  return bytes;
}

std::vector<uint8_t> referencesOf(Input& in) {
  std::vector<uint8_t> bytes;
  for (uint64_t count = in.upTo(4); count > 0; count--) {
    struct exitlog_reference one {};
    one.offset = in.upTo(kDiskBytes);
    one.at = in.upTo(kMemoryBytes);
    one.bytes = static_cast<uint32_t>(in.upTo(3 * Image::kPageBytes));
    if (in.byte() == 1) one.at = in.edge(kMemoryBytes);
    if (in.byte() == 1) one.bytes = static_cast<uint32_t>(in.edge(one.bytes));
    one.disk = static_cast<uint16_t>(in.upTo(2));
    one.block = static_cast<uint8_t>(in.upTo(3));
    one.flags = static_cast<uint8_t>(in.upTo(2));
    put(bytes, one);
  }
  return bytes;
}

std::vector<uint8_t> patchOf(Input& in) {
  std::vector<uint8_t> patch;
  for (uint64_t runs = in.upTo(6); runs > 0; runs--) {
    uint64_t kept = in.upTo(9000);
    for (; kept >= 0x80; kept >>= 7) patch.push_back(static_cast<uint8_t>(kept | 0x80));
    patch.push_back(static_cast<uint8_t>(kept));
    const std::vector<uint8_t> data = in.bytes(40);
    patch.push_back(static_cast<uint8_t>(data.size()));
    patch.insert(patch.end(), data.begin(), data.end());
  }
  return patch;
}

void stage(Input& in, Image& image) {
  struct exitlog_piece piece {0, EXITLOG_PIECE_DATA, 0, 0, image.epoch() + 1};
  std::vector<uint8_t> data;
  const uint8_t kind = in.byte() % 8;
  if (kind == 0) {
    data = blocksOf(in);
  } else if (kind == 1) {
    piece.part = EXITLOG_PART_REFERENCES;
    data = referencesOf(in);
  } else if (kind == 2) {
    piece.part = in.flip() ? EXITLOG_PART_DEVICES : EXITLOG_PART_PACKETS;
    data = in.bytes(300);
    if (in.byte() == 1) piece.offset = in.edge(data.size());
  } else if (kind < 6) {
    piece.part = static_cast<uint32_t>(EXITLOG_PART_RAM + in.upTo(3));
    piece.offset = in.upTo(16) * Image::kPageBytes;
    data = std::vector<uint8_t>((1 + in.upTo(3)) * Image::kPageBytes, in.byte());
  } else {
    piece.part = static_cast<uint32_t>(EXITLOG_PART_DISK + in.upTo(2));
    piece.offset = in.upTo(kDiskBytes);
    data = in.bytes(600);
  }
  piece.bytes = data.size();
  const uint8_t mode = in.byte();
  if ((mode & 7) == 1) {
    piece.flags = 0;
    data.clear();
  } else if ((mode & 7) == 2) {
    piece.flags |= kPiecePatch;
    data = patchOf(in);
  }
  if ((mode & 0xf8) == 8) piece.part = static_cast<uint32_t>(in.edge(piece.part));
  if ((mode & 0xf8) == 16) piece.offset = in.edge(piece.offset);
  if ((mode & 0xf8) == 32) piece.bytes = in.edge(piece.bytes);
  if ((mode & 0xf8) == 64) piece.epoch = in.edge(piece.epoch);
  const Exact exact(data);
  const bool hasData = (piece.flags & EXITLOG_PIECE_DATA) != 0;
  // As a frame has them: some, or none (state/piece.h).
  if (hasData && exact.size() == 0) return;
  image.stage(piece, hasData ? exact.data() : nullptr, exact.size());
}

// And all of it is looked at, each time.
void commit(Input& in, Image& image) {
  image.commit(in.number(8));
  ImageCheck check(image, 1);
  struct exitlog_cut_digest digest {};
  digest.vm.ram = image.ramDigest();
  digest.shipped = exitlog_hash_of(image.devices().data(), image.devices().size(), 0);
  check.compare(digest);
}

void run(Input& in) {
  static const ImageMemory memory(kMemoryBytes);
  MemoryDisks disks;
  const bool isAlone = in.byte() == 1;
  Image image(isAlone ? nullptr : &memory, isAlone ? nullptr : &disks, kStagedBytesMax);
  while (!in.isEmpty()) {
    const uint8_t step = in.byte();
    try {
      if (step < 200) stage(in, image);
      else if (step < 210) image.drop();
      else if (step < 220) image.prepare();
      else if (step < 225 && !image.refers()) return image.finish();
      else if (image.isWhole()) commit(in, image);
      touch(image.packets().data(), image.packets().size());
    } catch (const std::system_error&) {
      image.drop();
    }
  }
}

}  // namespace

void fuzz(Input& in) {
  onlyPeerErrors([&] { run(in); });
}

}  // namespace exitlog
