// SPDX-License-Identifier: Apache-2.0
// One of 2f+1 replicas: libraft's core with a log and a vote beside it. It has no thread, no
// clock and no socket: who runs it (the courier's thread; a simulation) says what time it is and
// brings what came, and does what the Host below is asked.
//
// The order in it is Raft's: a term and a vote are on the disk, then messages go out; an entry
// counts where it is stored (`durable`: synced), and what is committed is told, never more.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/configuration.h"
#include "core/entry_log.h"
#include "core/message.h"
#include "core/raft.h"
#include "core/vote.h"

namespace quorum {

enum class Role { follower, candidate, leader };

// With its checksum.
Entry madeEntry(uint64_t term, Kind kind, Slice payload);

class Host {
 public:
  virtual ~Host() = default;
  // May lose it, and may not wait.
  virtual void send(uint64_t to, Packet packet) = 0;
  // In order, each once after a start.
  virtual void committed(uint64_t index, const Entry& entry) = 0;
  virtual void roleChanged(Role role, uint64_t term) = 0;
  // Take the job (`takeSync`), run it anywhere, then say `synced`.
  virtual void wantsSync() = 0;
  // The leader's: its log no longer has what that replica lacks. Bring it a checkpoint, of this
  // replica's base or later, which it installs. Told again and again while that is so.
  virtual void behind(uint64_t /*id*/) {}
};

struct ReplicaOptions {
  LogOptions log;  // its cluster is the VM's
  uint64_t id = 0;
  unsigned electionMs = 1000;
  unsigned heartbeatMs = 100;
  unsigned inFlightMax = 64;  // entries that a follower has not acknowledged
  bool isDurable = true;      // else an entry counts once it is written
  uint64_t boot = 1;          // of the host: what was not synced does not outlive it
  unsigned seed = 1;
};

class Replica {
 public:
  // Opens what is there. Throws CorruptError, DiskError.
  Replica(Files& files, Host& host, const ReplicaOptions& options);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // Makes the first replicas' folders; each gets the same members. Only where there is nothing.
  static void bootstrap(Files& files, const ReplicaOptions& options,
                        const std::vector<Member>& members);

  // Into a folder whose replica is not open, when a checkpoint of the base is on the disk: the log
  // goes on behind it, and so does what is told. False: the folder has all of it, and is as before.
  // Throws PeerError for what is no base, CorruptError, DiskError.
  static bool install(Files& files, const ReplicaOptions& options, const Base& base);

  // All below throw DiskError, CorruptError or std::runtime_error: the replica has ended then.
  void start(uint64_t nowMs);
  // When `timeout` is due.
  uint64_t deadlineMs() const;
  void timeout(uint64_t nowMs);
  // Throws PeerError for what is no message; the replica goes on.
  void receive(uint64_t nowMs, uint64_t from, const Slice& packet);
  void synced(uint64_t nowMs);
  SyncJob takeSync() { return log_->takeSync(); }

  // Entries up to this one are in a checkpoint of the host's, and are not told after a start.
  const Base& base() const { return log_->base(); }
  // What to keep beside a checkpoint of the state at an entry that was told, and is not before the
  // base.
  Base baseAt(uint64_t index) const;
  // When that checkpoint is on the disk: its index becomes the base, and the log keeps as many
  // entries before it for followers that are close behind. Run it anywhere, one at a time, then say
  // `trimmed`. None: not now, since it is not told or not synced yet, or is no progress.
  std::optional<TrimJob> takeTrim(uint64_t index, uint64_t keep);
  void trimmed(uint64_t nowMs);

  // The leader's. False: it is none, or one that gives the lead away.
  bool submit(uint64_t nowMs, const std::vector<Slice>& payloads);
  // It votes once it has caught up; one that did not in time may be added again. False: not now.
  bool add(uint64_t nowMs, const Member& member);
  bool remove(uint64_t nowMs, uint64_t id);
  // 0: to whoever is best.
  bool transfer(uint64_t nowMs, uint64_t to);

  Role role() const;
  uint64_t leader() const;  // 0: not known
  uint64_t term() const { return raft_current_term(&raft_); }
  uint64_t lastIndex() const { return log_->lastIndex(); }
  uint64_t committedIndex() const { return told_; }
  std::vector<Member> members() const;
  bool isChanging() const;
  const EntryLog& log() const { return *log_; }

 private:
  enum class Answer { done, refused };
  static void checkBoot(const VoteFile& vote, const ReplicaOptions& options);
  Answer step(uint64_t nowMs, raft_event& event);
  void carryOut(const raft_update& update, const std::vector<Entry>& given);
  void keepVote();
  uint64_t bootOfLog() const { return options_.isDurable ? 0 : options_.boot; }
  static raft_snapshot_metadata metadataOf(const Base& base);
  void store(const raft_update& update, const std::vector<Entry>& given);
  void sendAll(const raft_update& update);
  void settle(uint64_t nowMs);
  void tellCommitted(uint64_t nowMs);
  bool reportStored(uint64_t nowMs);
  void promote(uint64_t nowMs);
  bool change(uint64_t nowMs, const std::vector<Member>& wanted);
  Answer submitAll(uint64_t nowMs, const std::vector<Entry>& entries);

  Host& host_;
  const ReplicaOptions options_;
  VoteFile vote_;
  std::unique_ptr<EntryLog> log_;
  mutable raft raft_;
  std::vector<raft_entry> loaded_;   // for `start`
  std::vector<Slice> loadedBytes_;
  std::vector<Entry> given_;         // of the event under way
  uint64_t told_ = 0;
  std::map<uint64_t, Slice> changes_;  // told, from the base's on: who the replicas were since
  std::optional<KeptBase> trimming_;
  uint64_t reported_ = 0;            // as libraft's last_stored
  uint64_t promoting_ = 0;           // it gets a vote when it has caught up
  bool isTrying_ = false;            // and libraft watches whether it does
  bool isSyncing_ = false;
  bool isSettling_ = false;
  Role role_ = Role::follower;
  uint64_t roleTerm_ = 0;
};

}  // namespace quorum
