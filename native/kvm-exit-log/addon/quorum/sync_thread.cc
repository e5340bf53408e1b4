// SPDX-License-Identifier: Apache-2.0
#include "quorum/sync_thread.h"

#include <pthread.h>

#include <csignal>

namespace exitlog {

SyncThread::SyncThread(std::function<void()> done)
    : done_(std::move(done)), thread_([this] {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        pthread_setname_np(pthread_self(), "replica-sync");
        loop();
      }) {}

SyncThread::~SyncThread() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    isEnding_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void SyncThread::run(quorum::SyncJob job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    job_ = std::move(job);
  }
  changed_.notify_one();
}

bool SyncThread::takeDone() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (fault_) throw quorum::DiskError(*fault_);
  const bool isDone = isDone_;
  isDone_ = false;
  return isDone;
}

void SyncThread::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!isEnding_) {
    if (!job_) {
      changed_.wait(lock);
      continue;
    }
    const quorum::SyncJob job = std::move(*job_);
    job_.reset();
    lock.unlock();
    std::optional<quorum::DiskError> fault;
    try {
      job.run();
    } catch (const quorum::DiskError& error) {
      fault.emplace(error);
    }
    lock.lock();
    isDone_ = true;
    if (fault) fault_.emplace(*fault);
    done_();
  }
}

}  // namespace exitlog
