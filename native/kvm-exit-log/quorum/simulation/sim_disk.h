// SPDX-License-Identifier: Apache-2.0
// A disk that keeps, when the power is cut, what was synced, and of the rest any sectors, in any
// order, torn; and of the names made since their last sync a first part. It can be full, fail to
// sync, hang, and die in the middle of what it is asked.
#pragma once

#include <map>

#include "core/files.h"
#include "simulation/random.h"

namespace quorum {

// The host died here.
struct PowerCut {};

class SimDisk final : public Files {
 public:
  explicit SimDisk(uint64_t seed) : random_(seed) {}

  std::vector<std::string> list() override;
  std::shared_ptr<File> open(const std::string& name) override;
  std::shared_ptr<File> create(const std::string& name) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& name) override;
  void syncNames() override;

  // Who had files open is gone, and what they wrote is still to be written.
  void kill() { life_++; }
  void cutPower();
  void flip(const std::string& name, uint64_t offset, unsigned bit);

  bool isFull = false;
  bool failsSync = false;
  // What waits for it gets an ETIMEDOUT, as from TimedFiles, and is not done. That it is done later
  // is a replica that ended behind it.
  bool isHung = false;
  // After this number of operations there is a PowerCut. 0: none.
  uint64_t diesAfter = 0;

 private:
  struct Change {
    bool isTruncation;
    uint64_t offset;
    std::vector<uint8_t> bytes;
  };
  struct Inode {
    std::vector<uint8_t> now;
    std::vector<uint8_t> synced;
    std::vector<Change> since;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;
  class Open;

  static void apply(std::vector<uint8_t>& bytes, const Change& change);
  void survive(Inode& inode);
  void rename(const Names& to);
  void operation();
  void waits(const std::string& what);

  Random random_;
  Names names_;
  std::vector<Names> history_;  // as they were synced, and after each change since
  uint64_t life_ = 0;
};

}  // namespace quorum
