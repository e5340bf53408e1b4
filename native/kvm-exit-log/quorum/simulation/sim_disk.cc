// SPDX-License-Identifier: Apache-2.0
#include "simulation/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace quorum {

namespace {

constexpr uint64_t kSectorBytes = 512;

}  // namespace

class SimDisk::Open final : public File {
 public:
  Open(SimDisk& disk, std::shared_ptr<Inode> inode)
      : disk_(disk), inode_(std::move(inode)), life_(disk.life_) {}

  uint64_t size() override { return inode_->now.size(); }

  void read(uint64_t offset, void* bytes, size_t count) override {
    if (offset + count > size()) throw DiskError(EIO, "a read behind the end");
    if (count > 0) memcpy(bytes, inode_->now.data() + offset, count);
  }

  void write(uint64_t offset, const Part* parts, size_t count) override {
    Change change{false, offset, {}};
    for (size_t i = 0; i < count; i++) {
      const auto* from = static_cast<const uint8_t*>(parts[i].bytes);
      if (parts[i].count > 0) change.bytes.insert(change.bytes.end(), from, from + parts[i].count);
    }
    if (!disk_.isFull) return keep(std::move(change));
    change.bytes.resize(disk_.random_.between(0, change.bytes.size()));
    keep(std::move(change));
    throw DiskError(ENOSPC, "write: no space left");
  }

  void truncate(uint64_t bytes) override {
    disk_.waits("truncation");
    keep(Change{true, bytes, {}});
  }

  void sync() override {
    disk_.waits("sync");
    disk_.operation();
    if (disk_.life_ != life_) throw std::logic_error("a file of a replica that is dead");
    if (disk_.failsSync) {
      // As Linux: what could not be written is no longer dirty.
      inode_->since.clear();
      throw DiskError(EIO, "sync: input/output error");
    }
    for (const Change& one : inode_->since) apply(inode_->synced, one);
    inode_->since.clear();
  }

 private:
  void keep(Change change) {
    disk_.operation();
    if (disk_.life_ != life_) throw std::logic_error("a file of a replica that is dead");
    apply(inode_->now, change);
    inode_->since.push_back(std::move(change));
  }

  SimDisk& disk_;
  const std::shared_ptr<Inode> inode_;
  const uint64_t life_;
};

void SimDisk::apply(std::vector<uint8_t>& bytes, const Change& change) {
  if (change.isTruncation) return bytes.resize(change.offset);
  if (bytes.size() < change.offset + change.bytes.size()) {
    bytes.resize(change.offset + change.bytes.size());
  }
  std::copy(change.bytes.begin(), change.bytes.end(),
            bytes.begin() + static_cast<std::ptrdiff_t>(change.offset));
}

void SimDisk::operation() {
  if (diesAfter > 0 && --diesAfter == 0) throw PowerCut{};
}

void SimDisk::waits(const std::string& what) {
  if (isHung) throw DiskError(ETIMEDOUT, "the disk hangs: " + what);
}

std::vector<std::string> SimDisk::list() {
  std::vector<std::string> all;
  for (const auto& [name, inode] : names_) all.push_back(name);
  return all;
}

std::shared_ptr<File> SimDisk::open(const std::string& name) {
  const auto found = names_.find(name);
  if (found == names_.end()) throw DiskError(ENOENT, name);
  return std::make_shared<Open>(*this, found->second);
}

void SimDisk::rename(const Names& to) {
  waits("names");
  operation();
  if (history_.empty()) history_.emplace_back();
  names_ = to;
  history_.push_back(names_);
}

std::shared_ptr<File> SimDisk::create(const std::string& name) {
  if (isFull) throw DiskError(ENOSPC, name);
  Names changed = names_;
  changed[name] = std::make_shared<Inode>();
  rename(changed);
  return open(name);
}

void SimDisk::rename(const std::string& from, const std::string& to) {
  Names changed = names_;
  changed[to] = changed.at(from);
  changed.erase(from);
  rename(changed);
}

void SimDisk::remove(const std::string& name) {
  Names changed = names_;
  changed.erase(name);
  rename(changed);
}

void SimDisk::syncNames() {
  waits("sync of names");
  operation();
  if (failsSync) throw DiskError(EIO, "sync: input/output error");
  history_ = {names_};
}

void SimDisk::survive(Inode& inode) {
  const uint64_t mood = random_.between(0, 3);
  for (const Change& change : inode.since) {
    if (mood == 0) continue;
    if (mood == 1 || change.isTruncation) {
      if (mood == 1 || random_.chance(0.5)) apply(inode.synced, change);
      continue;
    }
    for (uint64_t at = 0; at < change.bytes.size();) {
      // To the end of the sector on the disk.
      const uint64_t left = kSectorBytes - (change.offset + at) % kSectorBytes;
      const uint64_t count = std::min<uint64_t>(left, change.bytes.size() - at);
      if (random_.chance(0.5)) {
        const auto begin = change.bytes.begin() + static_cast<std::ptrdiff_t>(at);
        apply(inode.synced, Change{false, change.offset + at,
                                   {begin, begin + static_cast<std::ptrdiff_t>(count)}});
      }
      at += count;
    }
  }
  inode.now = inode.synced;
  inode.since.clear();
}

void SimDisk::cutPower() {
  life_++;
  diesAfter = 0;
  if (!history_.empty()) {
    names_ = history_[random_.between(0, history_.size() - 1)];
    history_ = {names_};
  }
  for (auto& [name, inode] : names_) survive(*inode);
}

void SimDisk::flip(const std::string& name, uint64_t offset, unsigned bit) {
  Inode& inode = *names_.at(name);
  for (std::vector<uint8_t>* bytes : {&inode.now, &inode.synced}) {
    if (offset < bytes->size()) (*bytes)[offset] ^= static_cast<uint8_t>(1u << bit);
  }
}

}  // namespace quorum
