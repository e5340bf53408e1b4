// SPDX-License-Identifier: Apache-2.0
#include "core/timed_files.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <future>
#include <thread>

#include "bits/errors.h"

namespace quorum {

// Shared by all of a folder: once something hangs, nothing else is tried.
class TimedFiles::Watch {
 public:
  explicit Watch(unsigned limitMs) : limitMs_(limitMs) {}

  // `work` keeps whatever it needs: it may outlive who asked for it.
  template <class Result>
  Result within(const std::string& what, std::function<Result()> work) {
    if (isHung_) throw hung(what);
    auto task = std::make_shared<std::packaged_task<Result()>>(std::move(work));
    std::future<Result> done = task->get_future();
    std::thread([task] { (*task)(); }).detach();
    if (done.wait_for(std::chrono::milliseconds(limitMs_)) != std::future_status::ready) {
      isHung_ = true;
      throw hung(what);
    }
    return done.get();
  }

 private:
  DiskError hung(const std::string& what) const {
    return DiskError(ETIMEDOUT, exitlog::format("the disk hangs: %s is not done after %u ms",
                                                what.c_str(), limitMs_));
  }
  const unsigned limitMs_;
  std::atomic<bool> isHung_{false};
};

class TimedFiles::Timed final : public File {
 public:
  Timed(std::shared_ptr<Files> files, std::shared_ptr<File> inner, std::shared_ptr<Watch> watch,
        std::string name)
      : files_(std::move(files)), inner_(std::move(inner)), watch_(std::move(watch)),
        name_(std::move(name)) {}

  uint64_t size() override { return inner_->size(); }
  void read(uint64_t offset, void* bytes, size_t count) override {
    inner_->read(offset, bytes, count);
  }
  // Into the page cache.
  void write(uint64_t offset, const Part* parts, size_t count) override {
    inner_->write(offset, parts, count);
  }
  void truncate(uint64_t bytes) override {
    watch_->within<void>("truncation of " + name_, [files = files_, inner = inner_, bytes] {
      inner->truncate(bytes);
    });
  }
  void sync() override {
    watch_->within<void>("sync of " + name_, [files = files_, inner = inner_] { inner->sync(); });
  }

 private:
  const std::shared_ptr<Files> files_;
  const std::shared_ptr<File> inner_;
  const std::shared_ptr<Watch> watch_;
  const std::string name_;
};

TimedFiles::TimedFiles(std::shared_ptr<Files> inner, unsigned limitMs)
    : inner_(std::move(inner)), watch_(std::make_shared<Watch>(limitMs)) {}

std::vector<std::string> TimedFiles::list() { return inner_->list(); }

std::shared_ptr<File> TimedFiles::open(const std::string& name) {
  return std::make_shared<Timed>(inner_, inner_->open(name), watch_, name);
}

std::shared_ptr<File> TimedFiles::create(const std::string& name) {
  const auto made = watch_->within<std::shared_ptr<File>>(
      "creation of " + name, [inner = inner_, name] { return inner->create(name); });
  return std::make_shared<Timed>(inner_, made, watch_, name);
}

void TimedFiles::rename(const std::string& from, const std::string& to) {
  watch_->within<void>("renaming of " + to, [inner = inner_, from, to] { inner->rename(from, to); });
}

void TimedFiles::remove(const std::string& name) {
  watch_->within<void>("removal of " + name, [inner = inner_, name] { inner->remove(name); });
}

void TimedFiles::syncNames() {
  watch_->within<void>("sync of names", [inner = inner_] { inner->syncNames(); });
}

}  // namespace quorum
