// SPDX-License-Identifier: Apache-2.0
// A replica (core/replica.h) with what it has not: a thread, a clock, links, a folder. The thread
// alone has all of these; others leave commands, and find events and facts, so that nobody ever
// waits for its disk. A second thread syncs the log.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bits/clock.h"
#include "bits/events.h"
#include "bits/facts.h"
#include "bits/names.h"
#include "core/host_files.h"
#include "core/replica.h"
#include "quorum/peers.h"
#include "quorum/sync_thread.h"
#include "quorum/vm_side.h"

namespace exitlog {

// What the thread has to tell JavaScript, which gets the names when it loads the addon.
#define EXITLOG_REPLICA_TOLD(X)                                                    \
  X(opened)     /* its log is read: it takes part */                               \
  X(role)       /* text: follower, candidate, leader; number: the term */          \
  X(leader)     /* number: who leads, as far as it knows; 0: nobody */             \
  X(ready)      /* it leads in the term number, and was told all before that */    \
  X(deposed)    /* number: who leads; its VM was live, and is not what is agreed on */ \
  X(committed)  /* number: index, bytes: what is agreed on and is no batch */      \
  X(console)    /* bytes: printed by the guest, and allowed to be shown */         \
  X(flushed)    /* everything that was in OUT is sealed and proposed */            \
  X(broken)     /* text: the VM of the ring cannot go on */                        \
  X(closed)     /* number: whose link it was; text: code, more: message */         \
  X(failed)     /* text: why. It takes part no more, until it is opened again */   \
  X(ended)      /* the thread is done */

enum class ReplicaEventKind : uint32_t { EXITLOG_REPLICA_TOLD(EXITLOG_VALUE) };
constexpr const char* kReplicaEventNames[] = {EXITLOG_REPLICA_TOLD(EXITLOG_NAME)};

struct ReplicaEvent {
  ReplicaEventKind kind;
  uint64_t number;
  std::string text;
  std::string more;
  std::vector<uint8_t> bytes;
};

struct ReplicaHostOptions {
  std::string dir;
  quorum::ReplicaOptions replica;
  // Who the first replicas are: its folder is made, and must be empty. Else what is there counts.
  std::vector<quorum::Member> members;
  // There is, or will be, a VM: batches are kept for it.
  bool executes = false;
};

struct ReplicaFacts {
  quorum::Role role = quorum::Role::follower;
  uint64_t term = 0;
  uint64_t leader = 0;
  uint64_t lastIndex = 0;
  uint64_t committedIndex = 0;
  std::vector<uint64_t> connected;
};

class ReplicaHost final : private quorum::Host {
 public:
  // `wakeJs`: there are events; any thread.
  ReplicaHost(ReplicaHostOptions options, std::function<void()> wakeJs);
  ~ReplicaHost();
  ReplicaHost(const ReplicaHost&) = delete;
  ReplicaHost& operator=(const ReplicaHost&) = delete;

  uint64_t id() const { return options_.replica.id; }
  uint64_t cluster() const { return options_.replica.log.cluster; }

  // An open link to that replica, whose hello was read.
  void attach(uint64_t peer, std::unique_ptr<Link> link);
  void drop(uint64_t peer);
  // One that does not lead loses it.
  void propose(quorum::Slice payload);
  // 0: to whoever is best.
  void transfer(uint64_t to);

  // A VM that executes what is agreed on, from power-on. Once.
  void run(std::shared_ptr<RingCore> core);
  // It is live where the agreed log ends, and this replica leads: its batches are proposed. What
  // is wrong is told as `broken`.
  void lead(const ShipOptions& options);
  void flush();
  // The ring goes.
  void letGo();

  // Ends the thread at once, within `forNs`. False: a system call of its does not return, nothing
  // is told any more, and this must never be destroyed.
  bool stop(uint64_t forNs);

  std::vector<ReplicaEvent> takeEvents();
  ReplicaFacts facts();
  Facts vmFacts();

 private:
  void send(uint64_t to, quorum::Packet packet) override { peers_->send(to, packet); }
  void committed(uint64_t index, const quorum::Entry& entry) override;
  void roleChanged(quorum::Role role, uint64_t term) override;
  void wantsSync() override { syncs_->run(replica_->takeSync()); }

  void run();
  void serve();
  void open();
  void round();
  void sleep();
  void look();
  void serveVm();
  void watchLeader();
  void take(uint64_t index, const quorum::Entry& entry);
  void tell(ReplicaEventKind kind, uint64_t number, std::string text = {}, std::string more = {},
            std::vector<uint8_t> bytes = {});
  void leave(std::function<void()> command);
  void publish();
  void nudge();

  const ReplicaHostOptions options_;
  const int nudgeFd_;

  // The thread's.
  quorum::HostFiles files_;
  std::unique_ptr<quorum::Replica> replica_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<SyncThread> syncs_;
  std::vector<uint64_t> readable_;
  uint64_t toldLeader_ = 0;
  uint64_t readyIndex_ = 0;  // of a leader: all before it, and it, may have been agreed on
  uint64_t readyTerm_ = 0;   // told of
  // This round's: others get them with the facts, so that who hears of one finds those of then.
  std::vector<ReplicaEvent> told_;
  const HostClock clock_;
  Events vmEvents_{[] {}};
  bool keeps_ = options_.executes;
  std::deque<quorum::Slice> early_;  // batches that were agreed on before there was a ring
  std::unique_ptr<VmSide> vm_;
  uint64_t vmDueNs_ = kNever;

  std::mutex mutex_;
  std::vector<std::function<void()>> commands_;
  std::vector<ReplicaEvent> events_;
  std::function<void()> wakeJs_;
  ReplicaFacts facts_;
  Facts vmFacts_{};
  bool ending_ = false;
  bool isGone_ = false;
  std::condition_variable gone_;
  std::thread thread_;
};

const char* nameOf(quorum::Role role);

}  // namespace exitlog
