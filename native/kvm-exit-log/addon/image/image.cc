// SPDX-License-Identifier: Apache-2.0
#include "image/image.h"

#include <sys/mman.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <system_error>

#include "bits/layout.h"
#include "bits/patch.h"
#include "bits/peer_error.h"
#include "exitlog_hash.h"
#include "image/disks.h"
#include "image/memory.h"

namespace exitlog {

namespace {

// A block of more bytes no guest has; far from an overflow.
constexpr uint64_t kBlockBytesMax = uint64_t{1} << 44;
constexpr uint64_t kBlocksMax = 64;
// Beside main memory: firmware, tables, a display's.
constexpr uint64_t kOthersBytesMax = uint64_t{1} << 30;
constexpr uint64_t kDevicesBytesMax = 64u << 20;
// What an epoch refers to is not kept, but a few bytes may name much.
constexpr uint64_t kReferredTimesMemory = 8;
constexpr uint64_t kReferredBytesMax = uint64_t{4} << 30;

bool isMemory(const struct exitlog_piece& piece) {
  return piece.part >= EXITLOG_PART_RAM && piece.part < EXITLOG_PART_DISK;
}

[[noreturn]] void wrong(const std::string& what) {
  throw PeerError(kPeerProtocol, "the primary sent " + what);
}

}  // namespace

Image::~Image() {
  for (const Block& block : blocks_) {
    if (!block.isShared) munmap(block.memory, block.bytes);
  }
}

void Image::checkMemory(const struct exitlog_piece& piece) const {
  const uint64_t number = piece.part - EXITLOG_PART_RAM;
  if (number >= blocks_.size()) wrong(format("memory of block %" PRIu64, number));
  const uint64_t bytes = blocks_[number].bytes;
  if (piece.offset % kPageBytes != 0 || piece.bytes % kPageBytes != 0 || piece.offset > bytes ||
      piece.bytes > bytes - piece.offset) {
    wrong("memory that its block does not have");
  }
}

void Image::checkPatch(const struct exitlog_piece& piece, const uint8_t* data,
                       uint64_t dataBytes) const {
  const bool isOfDevices = piece.part == EXITLOG_PART_DEVICES && !devices_.empty();
  if (!isMemory(piece) && !isOfDevices) wrong(format("a patch of part %u", piece.part));
  try {
    readPatch(data, dataBytes, piece.bytes, [](uint64_t, const uint8_t*, uint64_t) {});
  } catch (const CorruptError& error) {
    wrong(error.what());
  }
}

void Image::checkDisk(uint64_t number, uint64_t offset, uint64_t bytes) const {
  const uint64_t size = disks_ == nullptr ? 0 : disks_->bytes(number);
  if (size == 0) wrong(format("a write to disk %" PRIu64, number));
  if (offset > size || bytes > size - offset) {
    wrong(format("a write beyond the end of disk %" PRIu64, number));
  }
}

void Image::checkReferences(const struct exitlog_piece& piece, const uint8_t* data) const {
  if (data == nullptr || piece.offset != 0 ||
      piece.bytes % sizeof(struct exitlog_reference) != 0) {
    wrong("references that are none");
  }
  if (epoch_ == 0) wrong("a reference in the first epoch");
  uint64_t sum = 0;
  for (const struct exitlog_reference& one : referencesIn(data, piece.bytes)) {
    if (one.bytes == 0 || (one.flags & ~EXITLOG_REFERENCE_BEFORE) != 0) {
      wrong("a reference that is none");
    }
    checkDisk(one.disk, one.offset, one.bytes);
    const uint64_t bytes = one.block < blocks_.size() ? blocks_[one.block].bytes : 0;
    if (one.at > bytes || one.bytes > bytes - one.at) {
      wrong(format("a reference to memory that block %u does not have", one.block));
    }
    sum += one.bytes;
  }
  if (referredBytes_ + sum > kReferredTimesMemory * memoryBytes() + kReferredBytesMax) {
    wrong(format("references to %" PRIu64 " bytes in one epoch", referredBytes_ + sum));
  }
}

void Image::check(const struct exitlog_piece& piece, const uint8_t* data,
                  uint64_t dataBytes) const {
  if (piece.epoch != epoch_ + 1) {
    wrong(format("a piece of epoch %" PRIu64 " where %" PRIu64 " is due", piece.epoch, epoch_ + 1));
  }
  const bool saysData = (piece.flags & EXITLOG_PIECE_DATA) != 0;
  const bool isPatch = (piece.flags & kPiecePatch) != 0;
  if ((data != nullptr) != saysData || piece.bytes == 0 || dataBytes > EXITLOG_PIECE_BYTES_MAX ||
      (saysData && !isPatch && piece.bytes != dataBytes)) {
    wrong("a piece of another length");
  }
  if (isPatch) checkPatch(piece, data, dataBytes);
  if (piece.part >= EXITLOG_PART_DISK) {
    return checkDisk(piece.part - EXITLOG_PART_DISK, piece.offset, piece.bytes);
  }
  if (isMemory(piece)) return checkMemory(piece);
  if (piece.part == EXITLOG_PART_REFERENCES) return checkReferences(piece, data);
  if (piece.part == EXITLOG_PART_PACKETS) {
    if (!saysData || piece.offset != 0 || !stagedPackets_.empty() ||
        piece.bytes > EXITLOG_PACKETS_BYTES_MAX) {
      wrong("packets that are none");
    }
    return;
  }
  if (piece.part != EXITLOG_PART_BLOCKS && piece.part != EXITLOG_PART_DEVICES) {
    wrong(format("a piece of part %u", piece.part));
  }
  const uint64_t due = piece.part == EXITLOG_PART_DEVICES ? stagedDevices_.size() : 0;
  if (!saysData || piece.offset != due || due + piece.bytes > kDevicesBytesMax) {
    wrong("a piece out of order");
  }
}

void Image::makeBlock(const std::string& name, uint64_t bytes) {
  const bool isShared = memory_ != nullptr && name == ImageMemory::kBlock;
  if (isShared && bytes != memory_->bytes()) {
    wrong(format("%" PRIu64 " bytes of main memory where %" PRIu64 " are due", bytes,
                 memory_->bytes()));
  }
  void* memory = isShared ? memory_->data()
                          : mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
  blocks_.push_back(Block{name, static_cast<uint8_t*>(memory), bytes, 0, isShared,
                          exitlog_hash_of(name.data(), name.size(), 0), {}});
}

// Blocks are made when they are heard of; how much of them counts, a commit says.
void Image::takeBlocks(const uint8_t* data, uint64_t bytes) {
  const uint64_t count = bytes / sizeof(struct exitlog_block);
  const bool isFirst = blocks_.empty();
  if (bytes % sizeof(struct exitlog_block) != 0 || count == 0 || count > kBlocksMax ||
      (!isFirst && count != blocks_.size())) {
    wrong("other blocks of memory");
  }
  std::vector<uint64_t> used;
  uint64_t others = 0;
  for (uint64_t i = 0; i < count; i++) {
    struct exitlog_block given;
    memcpy(&given, data + i * sizeof given, sizeof given);
    const std::string name(given.name, strnlen(given.name, sizeof given.name));
    if (given.bytes == 0 || given.bytes > kBlockBytesMax || given.bytes % kPageBytes != 0 ||
        given.used > given.bytes ||
        (!isFirst && (blocks_[i].name != name || blocks_[i].bytes != given.bytes))) {
      wrong("a block of memory that is none");
    }
    if (name != ImageMemory::kBlock) others += given.bytes;
    if (memory_ != nullptr && others > kOthersBytesMax) {
      wrong(format("%" PRIu64 " bytes of memory beside main memory", others));
    }
    used.push_back(given.used);
    if (isFirst) makeBlock(name, given.bytes);
  }
  used_ = std::move(used);
}

void Image::stage(const struct exitlog_piece& piece, const uint8_t* data, uint64_t dataBytes) {
  check(piece, data, dataBytes);
  if (stagedBytes_ + dataBytes > stagedBytesMax_) {
    throw std::system_error(ENOMEM, std::generic_category(),
                            format("more than %" PRIu64 " bytes", stagedBytesMax_));
  }
  if (piece.part == EXITLOG_PART_BLOCKS) return takeBlocks(data, piece.bytes);
  if (piece.part == EXITLOG_PART_PACKETS) {
    stagedPackets_.assign(data, data + piece.bytes);
    return;
  }
  if (piece.part == EXITLOG_PART_DEVICES) return stageDevices(piece, data, dataBytes);
  if (piece.part == EXITLOG_PART_REFERENCES) return stageReferences(data, piece.bytes);
  if (piece.part >= EXITLOG_PART_DISK) return stageWrite(piece, data);
  Staged staged{piece, {}};
  if (data != nullptr) staged.data.assign(data, data + dataBytes);
  stagedBytes_ += sizeof staged + staged.data.size();
  staged_.push_back(std::move(staged));
}

// A patch is of what the epoch before has left, cut off or with zeros behind it.
void Image::stageDevices(const struct exitlog_piece& piece, const uint8_t* data,
                         uint64_t dataBytes) {
  if ((piece.flags & kPiecePatch) == 0) {
    stagedDevices_.insert(stagedDevices_.end(), data, data + piece.bytes);
    return;
  }
  stagedDevices_ = devices_;
  stagedDevices_.resize(piece.bytes);
  readPatch(data, dataBytes, piece.bytes, [&](uint64_t at, const uint8_t* bytes, uint64_t count) {
    memcpy(stagedDevices_.data() + at, bytes, count);
  });
}

void Image::stageWrite(const struct exitlog_piece& piece, const uint8_t* data) {
  StagedWrite write{piece.part - uint64_t{EXITLOG_PART_DISK}, piece.offset, piece.bytes, {}, {}};
  if (data != nullptr) write.data.assign(data, data + piece.bytes);
  stagedBytes_ += sizeof write + write.data.size();
  writes_.push_back(std::move(write));
}

void Image::stageReferences(const uint8_t* data, uint64_t bytes) {
  for (const struct exitlog_reference& one : referencesIn(data, bytes)) {
    writes_.push_back(StagedWrite{one.disk, one.offset, one.bytes, {}, one});
    stagedBytes_ += sizeof writes_.back();
    referredBytes_ += one.bytes;
  }
}

void Image::hashAgain(Block& block, uint64_t first, uint64_t end, bool isZero) {
  static const uint8_t zeros[kPageBytes] = {};  // looking at a hole would fill it
  for (uint64_t page = first; page < end && page < block.terms.size(); page++) {
    const uint64_t term = exitlog_hash_of(isZero ? zeros : block.memory + page * kPageBytes,
                                          kPageBytes, block.seed + page * EXITLOG_HASH_PAGE);
    ram_ += term - block.terms[page];
    block.terms[page] = term;
  }
}

void Image::resize() {
  for (size_t i = 0; i < used_.size(); i++) {
    Block& block = blocks_[i];
    const uint64_t before = block.terms.size();
    const uint64_t now = used_[i] / kPageBytes;
    for (uint64_t page = now; page < before; page++) ram_ -= block.terms[page];
    block.terms.resize(now);
    block.used = used_[i];
    hashAgain(block, before, now, epoch_ == 0);
  }
  used_.clear();
}

// A page is hashed after its last run.
void Image::patch(const Staged& staged) {
  Block& block = blocks_[staged.piece.part - EXITLOG_PART_RAM];
  uint64_t hashed = 0;  // pages before this one have been, or have not changed
  uint64_t page = 0;    // of the last run's last byte
  bool hasPage = false;
  const auto each = [&](uint64_t at, const uint8_t* bytes, uint64_t count) {
    const uint64_t offset = staged.piece.offset + at;
    const uint64_t first = offset / kPageBytes;
    if (hasPage && first > page) hashAgain(block, hashed, page + 1, false);
    if (!hasPage || first > page) hashed = first;
    memcpy(block.memory + offset, bytes, count);
    page = (offset + count - 1) / kPageBytes;
    hasPage = true;
  };
  readPatch(staged.data.data(), staged.data.size(), staged.piece.bytes, each);
  if (hasPage) hashAgain(block, hashed, page + 1, false);
}

void Image::write(const Staged& staged) {
  if ((staged.piece.flags & kPiecePatch) != 0) return patch(staged);
  Block& block = blocks_[staged.piece.part - EXITLOG_PART_RAM];
  const uint64_t offset = staged.piece.offset;
  const uint64_t bytes = staged.piece.bytes;
  const bool isZero = staged.data.empty();
  if (!isZero) memcpy(block.memory + offset, staged.data.data(), bytes);
  else if (block.isShared) memory_->zero(offset, bytes);
  else memset(block.memory + offset, 0, bytes);
  hashAgain(block, offset / kPageBytes, (offset + bytes) / kPageBytes, isZero);
}

void Image::read(const Block& block, uint64_t offset, uint64_t bytes, uint8_t* into) const {
  if (block.isShared) memory_->read(offset, bytes, into);
  else memcpy(into, block.memory + offset, bytes);
}

// What references to memory as this epoch leaves it mean.
void Image::resolve() {
  for (const StagedWrite& write : writes_) {
    if (write.isAfter()) {
      after_.need(*write.reference, blocks_[write.reference->block].memory);
    }
  }
  after_.seal();
  for (const Staged& staged : staged_) {
    const uint64_t block = staged.piece.part - EXITLOG_PART_RAM;
    const uint64_t offset = staged.piece.offset;
    if ((staged.piece.flags & kPiecePatch) != 0) {
      readPatch(staged.data.data(), staged.data.size(), staged.piece.bytes,
                [&](uint64_t at, const uint8_t* bytes, uint64_t count) {
                  after_.patch(block, offset + at, count, bytes);
                });
    } else {
      after_.change(block, offset, staged.piece.bytes,
                    staged.data.empty() ? nullptr : staged.data.data());
    }
  }
}

// In the guest's order. Data stay where they are: nothing of the epoch is written to memory
// before all of it is on the disks.
std::vector<DiskWrite> Image::diskWrites() {
  if (refers()) resolve();
  std::vector<DiskWrite> all;
  all.reserve(writes_.size());
  for (const StagedWrite& write : writes_) {
    if (write.isAfter()) {
      after_.write(*write.reference, all);
      continue;
    }
    const uint8_t* data = write.data.empty() ? nullptr : write.data.data();
    if (write.reference) data = blocks_[write.reference->block].memory + write.reference->at;
    all.push_back(DiskWrite{write.disk, write.offset, data, write.bytes});
  }
  return all;
}

void Image::prepare() {
  if (!mustPrepare()) return;
  prepared_ = diskWrites();
  disks_->prepare(epoch_ + 1, prepared_);
  isPrepared_ = true;
}

void Image::writeDisks() {
  if (writes_.empty()) return;
  prepare();
  disks_->begin(epoch_ + 1);
  for (const DiskWrite& one : prepared_) disks_->write(one.disk, one.offset, one.data, one.bytes);
  disks_->end(epoch_ + 1);
  dropWrites();  // memory may now be written, also by a later try
}

uint64_t Image::commit(uint64_t ordinal) {
  if (!isWhole()) wrong("an epoch that is not whole");
  writeDisks();
  if (epoch_ == 0 && memory_ != nullptr) memory_->zero(0, memory_->bytes());
  resize();
  for (const Staged& staged : staged_) write(staged);
  devices_.swap(stagedDevices_);
  packets_.swap(stagedPackets_);
  ordinal_ = ordinal;
  drop();
  return ++epoch_;
}

uint64_t Image::memoryBytes() const {
  uint64_t sum = 0;
  for (const Block& block : blocks_) sum += block.bytes;
  return sum;
}

void Image::finish() {
  writeDisks();
  drop();
}

void Image::leaveDisks() {
  if (disks_ != nullptr) disks_->leave();
}

void Image::dropWrites() {
  prepared_.clear();
  after_ = MemoryAfter();
  writes_.clear();
  referredBytes_ = 0;
  isPrepared_ = false;
}

void Image::drop() {
  staged_.clear();
  dropWrites();
  stagedBytes_ = 0;
  stagedDevices_.clear();
  stagedPackets_.clear();
  used_.clear();
}

}  // namespace exitlog
