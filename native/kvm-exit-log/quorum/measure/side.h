// SPDX-License-Identifier: Apache-2.0
// One process of a measurement: what takes entries until they count.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "core/host_files.h"
#include "core/replica.h"
#include "measure/sockets.h"

namespace quorum {

struct SideOptions {
  bool isPair = false;
  uint64_t id = 1;
  uint64_t replicas = 3;
  uint16_t port = 7750;
  std::string dir;
  bool isDurable = false;
};

uint64_t monotonicUs();

// Runs one job at a time on a thread of its own, and says so on a descriptor.
class SyncThread {
 public:
  explicit SyncThread(int wakeFd);
  ~SyncThread();
  void run(SyncJob job);

 private:
  void loop(int wakeFd);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<SyncJob> job_;
  bool isEnding_ = false;
  std::thread thread_;
};

class Side {
 public:
  virtual ~Side() = default;
  // How many entries have counted since the start.
  uint64_t counted = 0;
  virtual bool leads() const = 0;
  virtual void submit(const Slice& payload) = 0;
  virtual void wait(int timeoutMs) = 0;
  virtual void transfer(uint64_t) {}
  virtual uint64_t leader() const { return 1; }
  virtual bool isAlone() const = 0;
  virtual uint64_t lastIndex() const = 0;
};

std::unique_ptr<Side> makeReplica(const SideOptions& options);
// The same log, sockets and threads, one backup, and no consensus: what a pair does.
std::unique_ptr<Side> makePairSide(const SideOptions& options);

}  // namespace quorum
