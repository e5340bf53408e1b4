// SPDX-License-Identifier: Apache-2.0
// TimedFiles in real time: the one part of a replica that has threads.
#include <atomic>
#include <chrono>
#include <thread>

#include "core/timed_files.h"
#include "core/vote.h"
#include "simulation/schedule.h"

namespace quorum {

namespace {

constexpr unsigned kLimitMs = 50;
constexpr auto kSlow = std::chrono::seconds(60);  // no host takes that long

void must(bool holds, const char* what) {
  if (!holds) throw Violation(what);
}

// A disk whose syncs hang, and what still happens to it.
struct Hang {
  std::atomic<bool> isOn{false};
  std::atomic<bool> isLocked{true};
  std::atomic<int> late{0};
};

class HangingFile final : public File {
 public:
  HangingFile(std::shared_ptr<File> inner, Hang& hang) : inner_(std::move(inner)), hang_(hang) {}
  uint64_t size() override { return inner_->size(); }
  void read(uint64_t offset, void* bytes, size_t count) override {
    inner_->read(offset, bytes, count);
  }
  void write(uint64_t offset, const Part* parts, size_t count) override {
    inner_->write(offset, parts, count);
  }
  void truncate(uint64_t bytes) override { inner_->truncate(bytes); }
  void sync() override {
    const bool isLate = hang_.isOn;
    while (hang_.isOn) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (isLate) hang_.late++;
  }

 private:
  const std::shared_ptr<File> inner_;
  Hang& hang_;
};

class HangingFiles final : public Files {
 public:
  HangingFiles(SimDisk& inner, Hang& hang) : inner_(inner), hang_(hang) {}
  ~HangingFiles() override { hang_.isLocked = false; }
  std::vector<std::string> list() override { return inner_.list(); }
  std::shared_ptr<File> open(const std::string& name) override { return over(inner_.open(name)); }
  std::shared_ptr<File> create(const std::string& name) override {
    return over(inner_.create(name));
  }
  void rename(const std::string& from, const std::string& to) override { inner_.rename(from, to); }
  void remove(const std::string& name) override { inner_.remove(name); }
  void syncNames() override { inner_.syncNames(); }

 private:
  std::shared_ptr<File> over(std::shared_ptr<File> file) {
    return std::make_shared<HangingFile>(std::move(file), hang_);
  }
  SimDisk& inner_;
  Hang& hang_;
};

// That it is refused, and by which name.
void mustHang(VoteFile& vote, uint64_t term) {
  try {
    vote.write(Vote{term, 1}, 0);
  } catch (const DiskError& error) {
    must(error.code == ETIMEDOUT, "a disk that hangs fails in another way");
    must(std::string(error.what()).find("vote") != std::string::npos, "it is not said what hangs");
    return;
  }
  throw Violation("a vote counts that is not on the disk");
}

}  // namespace

Outcome playHungDisk(uint64_t seed, bool) {
  SimDisk disk(seed);
  Hang hang;
  {
    TimedFiles files(std::make_shared<HangingFiles>(disk, hang), kLimitMs);
    VoteFile vote(files, 1, 1);
    vote.write(Vote{1, 1}, 0);
    hang.isOn = true;
    const auto began = std::chrono::steady_clock::now();
    mustHang(vote, 2);
    mustHang(vote, 3);
    must(std::chrono::steady_clock::now() - began < kSlow, "its end comes late");
  }
  must(hang.isLocked, "the folder is free, and its disk has not done what it was asked");
  hang.isOn = false;
  const auto began = std::chrono::steady_clock::now();
  while (hang.isLocked && std::chrono::steady_clock::now() - began < kSlow) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  must(!hang.isLocked && hang.late == 1, "it was not done, or more than once");
  return Outcome{};
}

}  // namespace quorum
