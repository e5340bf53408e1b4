// SPDX-License-Identifier: Apache-2.0
#include "measure/side.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "bits/checksum.h"

namespace quorum {

namespace {

constexpr uint64_t kCluster = 0xbe7c;
// Replica 1 leads: the others wait long before they would.
constexpr unsigned kElectionMs = 300;
constexpr unsigned kPatienceMs = 20000;
constexpr unsigned kInFlightMax = 64;

LogOptions logOptions() {
  LogOptions options;
  options.cluster = kCluster;
  return options;
}

class ReplicaSide final : public Side, public Host {
 public:
  explicit ReplicaSide(const SideOptions& options)
      : files_(options.dir),
        sockets_(options.id, options.replicas, options.port,
                 [this](uint64_t from, const Slice& packet) { replica_->receive(nowMs(), from, packet); }),
        syncs_(sockets_.wakeFd()) {
    ReplicaOptions of;
    of.log = logOptions();
    of.id = options.id;
    of.electionMs = options.id == 1 ? kElectionMs : kPatienceMs;
    of.heartbeatMs = kElectionMs / 3;
    of.inFlightMax = kInFlightMax;
    of.isDurable = options.isDurable;
    std::vector<Member> members;
    for (uint64_t id = 1; id <= options.replicas; id++) {
      members.push_back(Member{id, std::to_string(id), true});
    }
    Replica::bootstrap(files_, of, members);
    replica_ = std::make_unique<Replica>(files_, *this, of);
    sockets_.woken = [this] { replica_->synced(nowMs()); };
    replica_->start(nowMs());
  }

  bool leads() const override { return replica_->role() == Role::leader; }
  uint64_t leader() const override { return replica_->leader(); }
  uint64_t lastIndex() const override { return replica_->lastIndex(); }
  bool isAlone() const override { return sockets_.isLost(1); }
  void submit(const Slice& payload) override { replica_->submit(nowMs(), {payload}); }
  void transfer(uint64_t to) override { replica_->transfer(nowMs(), to); }

  void wait(int timeoutMs) override {
    const uint64_t due = replica_->deadlineMs();
    const uint64_t now = nowMs();
    sockets_.wait(std::min(timeoutMs, due > now ? static_cast<int>(due - now) : 0));
    if (nowMs() >= replica_->deadlineMs()) replica_->timeout(nowMs());
  }

 private:
  static uint64_t nowMs() { return monotonicUs() / 1000; }
  void send(uint64_t to, Packet packet) override { sockets_.send(to, std::move(packet)); }
  void committed(uint64_t, const Entry& entry) override {
    if (entry.kind == Kind::batch) counted++;
  }
  void roleChanged(Role, uint64_t) override {}
  void wantsSync() override { syncs_.run(replica_->takeSync()); }

  HostFiles files_;
  std::unique_ptr<Replica> replica_;
  Sockets sockets_;
  SyncThread syncs_;
};

class PairSide final : public Side {
 public:
  explicit PairSide(const SideOptions& options)
      : options_(options),
        files_(options.dir),
        log_(files_, logOptions(), [](uint64_t, const Entry&) {}),
        sockets_(options.id, 2, options.port,
                 [this](uint64_t, const Slice& packet) { heard(packet); }),
        syncs_(sockets_.wakeFd()) {
    sockets_.woken = [this] {
      isSyncing_ = false;
      log_.syncDone();
      acknowledge();
    };
  }

  bool leads() const override { return options_.id == 1; }
  uint64_t lastIndex() const override { return log_.lastIndex(); }
  bool isAlone() const override { return sockets_.isLost(1); }
  void wait(int timeoutMs) override { sockets_.wait(timeoutMs); }

  void submit(const Slice& payload) override {
    const Entry entry{1, Kind::batch, exitlog::xxh64(payload.bytes.get(), payload.count), payload};
    log_.append(entry);
    raft_message message{};
    message.type = RAFT_APPEND_ENTRIES;
    message.append_entries.term = 1;
    sockets_.send(2, encode(Envelope{kCluster, 1, 2}, message, {entry}));
  }

 private:
  void heard(const Slice& packet) {
    const uint64_t other = 3 - options_.id;
    const Received received = decode(Envelope{kCluster, other, options_.id}, packet);
    if (received.message.type == RAFT_APPEND_ENTRIES_RESULT) {
      counted = received.message.append_entries_result.last_log_index;
      return;
    }
    for (const Entry& entry : received.entries) log_.append(entry);
    acknowledge();
  }

  void acknowledge() {
    if (options_.isDurable && !log_.isSynced() && !isSyncing_) {
      isSyncing_ = true;
      syncs_.run(log_.takeSync());
    }
    const uint64_t held = options_.isDurable ? log_.syncedIndex() : log_.lastIndex();
    if (held == told_) return;
    told_ = held;
    raft_message message{};
    message.type = RAFT_APPEND_ENTRIES_RESULT;
    message.append_entries_result.term = 1;
    message.append_entries_result.last_log_index = held;
    sockets_.send(1, encode(Envelope{kCluster, 2, 1}, message, {}));
  }

  const SideOptions options_;
  HostFiles files_;
  EntryLog log_;
  Sockets sockets_;
  SyncThread syncs_;
  bool isSyncing_ = false;
  uint64_t told_ = 0;
};

}  // namespace

uint64_t monotonicUs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

SyncThread::SyncThread(int wakeFd) : thread_([this, wakeFd] { loop(wakeFd); }) {}

SyncThread::~SyncThread() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    isEnding_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void SyncThread::run(SyncJob job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    job_ = std::move(job);
  }
  changed_.notify_one();
}

void SyncThread::loop(int wakeFd) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!isEnding_) {
    if (!job_) {
      changed_.wait(lock);
      continue;
    }
    const SyncJob job = std::move(*job_);
    job_.reset();
    lock.unlock();
    job.run();
    const uint64_t one = 1;
    if (write(wakeFd, &one, sizeof one) != sizeof one) abort();
    lock.lock();
  }
}

std::unique_ptr<Side> makeReplica(const SideOptions& options) {
  return std::make_unique<ReplicaSide>(options);
}

std::unique_ptr<Side> makePairSide(const SideOptions& options) {
  return std::make_unique<PairSide>(options);
}

}  // namespace quorum
