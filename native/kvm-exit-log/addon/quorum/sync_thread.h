// SPDX-License-Identifier: Apache-2.0
// Syncs of a replica's log, on a thread of their own: one at a time.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/entry_log.h"

namespace exitlog {

class SyncThread {
 public:
  // `done` is called by the thread, for each job.
  explicit SyncThread(std::function<void()> done);
  // Waits for the one that is under way.
  ~SyncThread();
  SyncThread(const SyncThread&) = delete;
  SyncThread& operator=(const SyncThread&) = delete;

  void run(quorum::SyncJob job);
  // Whether one has been done since it was asked last. Throws DiskError for one that failed.
  bool takeDone();

 private:
  void loop();

  const std::function<void()> done_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<quorum::SyncJob> job_;
  bool isDone_ = false;
  std::optional<quorum::DiskError> fault_;
  bool isEnding_ = false;
  std::thread thread_;
};

}  // namespace exitlog
