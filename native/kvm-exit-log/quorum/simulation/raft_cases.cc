// SPDX-License-Identifier: Apache-2.0
#include "simulation/raft_cases.h"

#include <cstdlib>
#include <vector>

#include "core/raft.h"
#include "simulation/history.h"

namespace quorum {

namespace {

void must(bool holds, const char* what) {
  if (!holds) throw Violation(what);
}

raft_entry entryOf(uint64_t term, raft_entry_type type, const raft_configuration* change,
                   void* batch) {
  raft_entry entry{};
  entry.term = term;
  entry.type = type;
  entry.batch = batch;
  if (change != nullptr) raft_configuration_encode(change, &entry.buf);
  return entry;
}

// Replica `id` of three, with so many entries of term 1, and what its own log says that it is.
class One {
 public:
  One(uint64_t id, unsigned entries, int role = RAFT_VOTER) {
    raft_init(&raft_, nullptr, nullptr, id, "");
    raft_.tracer = nullptr;
    raft_configuration_init(&three_);
    const char* const addresses[] = {"a", "b", "c"};
    for (uint64_t one = 1; one <= 3; one++) {
      raft_configuration_add(&three_, one, addresses[one - 1], one == id ? role : RAFT_VOTER);
    }
    std::vector<raft_entry> log{entryOf(1, RAFT_CHANGE, &three_, nullptr)};
    while (log.size() < entries) log.push_back(entryOf(1, RAFT_COMMAND, nullptr, nullptr));
    raft_event event{};
    event.type = RAFT_START;
    event.start.term = 1;
    event.start.start_index = 1;
    event.start.entries = log.data();
    event.start.n_entries = entries;
    step(event);
    raft_free(log[0].buf.base);
  }
  ~One() {
    raft_configuration_close(&three_);
    raft_close(&raft_, nullptr);
  }

  void step(raft_event& event) {
    event.time = now;
    must(raft_step(&raft_, &event, &update) == 0, "libraft refuses an event");
    if ((update.flags & (RAFT_UPDATE_ENTRIES)) != 0) raft_free(update.entries.batch[0].batch);
  }

  void receive(raft_message message, uint64_t from) {
    message.server_id = from;
    message.server_address = "x";
    raft_event event{};
    event.type = RAFT_RECEIVE;
    event.receive.message = &message;
    step(event);
  }

  void timeout() {
    raft_event event{};
    event.type = RAFT_TIMEOUT;
    step(event);
  }

  // Entries up to an index are in a snapshot, and all but `trailing` of them gone.
  void snapshot(uint64_t index, unsigned trailing) {
    raft_event event{};
    event.type = RAFT_SNAPSHOT;
    event.snapshot.metadata.index = index;
    event.snapshot.metadata.term = 1;
    event.snapshot.metadata.configuration_index = 1;
    event.snapshot.trailing = trailing;
    step(event);
  }

  void append(uint64_t from, uint64_t term, uint64_t before, std::vector<raft_entry> entries) {
    raft_message message{};
    message.type = RAFT_APPEND_ENTRIES;
    message.append_entries.term = term;
    message.append_entries.prev_log_index = before;
    message.append_entries.prev_log_term = before == 0 ? 0 : 1;
    message.append_entries.entries = entries.data();
    message.append_entries.n_entries = static_cast<unsigned>(entries.size());
    receive(message, from);
  }

  void acknowledge(uint64_t from, uint64_t rejected, uint64_t last) {
    raft_message message{};
    message.type = RAFT_APPEND_ENTRIES_RESULT;
    message.append_entries_result.version = 2;
    message.append_entries_result.term = raft_.current_term;
    message.append_entries_result.rejected = rejected;
    message.append_entries_result.last_log_index = last;
    receive(message, from);
  }

  // Asks for its vote, with a log that ends in term 1. @returns what it says
  const raft_request_vote_result& request(uint64_t from, uint64_t term, uint64_t last,
                                          bool isPreVote) {
    raft_message message{};
    message.type = RAFT_REQUEST_VOTE;
    message.request_vote.version = 2;
    message.request_vote.term = term;
    message.request_vote.candidate_id = from;
    message.request_vote.last_log_index = last;
    message.request_vote.last_log_term = 1;
    message.request_vote.pre_vote = isPreVote;
    receive(message, from);
    must(update.messages.n == 1, "no reply");
    return update.messages.batch[0].request_vote_result;
  }

  void vote(uint64_t from, uint64_t term, bool isPreVote) {
    raft_message message{};
    message.type = RAFT_REQUEST_VOTE_RESULT;
    message.request_vote_result.version = 2;
    message.request_vote_result.term = term;
    message.request_vote_result.vote_granted = !isPreVote;
    message.request_vote_result.pre_vote = isPreVote;
    receive(message, from);
  }

  raft raft_;
  raft_configuration three_;
  raft_update update{};
  uint64_t now = 1000;
};

// 0001: a change that is not the first entry of its message.
void changeBehindAnother() {
  One follower(2, 1);
  void* const batch = raft_malloc(1);
  const raft_entry change = entryOf(1, RAFT_CHANGE, &follower.three_, batch);
  follower.append(1, 1, 1, {entryOf(1, RAFT_COMMAND, nullptr, batch), change});
  raft_free(change.buf.base);
  must(follower.raft_.configuration_uncommitted_index == 3,
       "a change of membership is noted at another entry's index");
}

// 0002: a rejection that comes after an acknowledgement of the same index, from a server that the
// leader has not heard of since its last look.
void overtakenRejection() {
  One leader(1, 3);
  leader.now += 5000;
  leader.timeout();
  leader.vote(2, 2, false);
  must(raft_state(&leader.raft_) == RAFT_LEADER, "nobody leads");
  leader.acknowledge(2, 0, 4);
  leader.now += 50;
  leader.acknowledge(3, 0, 4);
  leader.timeout();
  leader.now += 500;
  leader.acknowledge(3, 0, 4);
  leader.timeout();
  leader.acknowledge(2, 4, 3);
  raft_index match = 0;
  raft_match_index(&leader.raft_, 2, &match);
  must(match == 4, "a rejection that was overtaken takes an acknowledgement back");
}

// 0003: the reply to an AppendEntries of an older term.
void replyToAnOlderTerm() {
  One follower(2, 3);
  follower.append(1, 2, 3, {});
  follower.append(3, 1, 0, {});
  must(follower.update.messages.n == 1, "no reply");
  must(follower.update.messages.batch[0].append_entries_result.last_log_index == 0,
       "a reply says what lay on the stack");
  raft_message message{};
  message.type = RAFT_INSTALL_SNAPSHOT;
  message.install_snapshot.term = 1;
  message.install_snapshot.last_index = 1;
  message.install_snapshot.last_term = 1;
  follower.receive(message, 3);
  must(follower.update.messages.batch[0].append_entries_result.last_log_index == 0,
       "a reply to a snapshot says what lay on the stack");
}

// What a follower has where a candidate has its phase: the second byte of a pointer.
void* atRoundAddress(void*, size_t bytes) { return aligned_alloc(1u << 16, (bytes + 0xffff) & ~size_t{0xffff}); }

// 0004: a result of a pre-vote that comes when another leads already.
void latePreVote() {
  raft_heap heap = *raft_heap_get();
  heap.malloc = atRoundAddress;
  raft_heap_set(&heap);
  {
    One follower(2, 3);
    follower.append(1, 1, 3, {});
    follower.vote(3, 2, true);
    raft_heap_set_default();
    must(follower.raft_.current_term == 1, "a late pre-vote raises the term");
  }
}

// 0005: a candidate of a lower term, whose log may be the longest.
void preVoteOfALowerTerm() {
  One follower(2, 3);
  follower.append(1, 4, 3, {});
  must(follower.request(3, 2, 9, true).term == 4,
       "a candidate is not told of the term that it is rejected for");
}

// 0006: a replica that was promoted, and has not heard of it.
void voteOfOneThatDoesNotKnow() {
  One standby(2, 3, RAFT_STANDBY);
  must(standby.request(3, 2, 4, true).vote_granted, "who does not know that it votes denies its vote");
  must(standby.request(3, 2, 4, false).vote_granted, "and the vote after the pre-vote");
  must(!standby.request(1, 2, 4, false).vote_granted, "two votes in one term");
  must(!One(4, 3).request(3, 2, 4, true).vote_granted, "who is in no configuration votes");
}

// 0007: its leader is gone, and it cannot be a candidate.
void voteOfOneWithoutALeader() {
  One standby(2, 3, RAFT_STANDBY);
  standby.append(1, 1, 3, {});
  must(!standby.request(3, 2, 4, true).vote_granted, "it votes against a leader that it hears");
  standby.now += 5000;
  standby.timeout();
  must(standby.request(3, 2, 4, true).vote_granted, "it believes in a leader that is gone");
}

// 0008: entries that its snapshot has, in a message that is late, and one that begins before it.
void entriesOfASnapshot() {
  One follower(2, 5);
  follower.snapshot(4, 0);
  void* const batch = raft_malloc(1);
  const raft_entry entry = entryOf(1, RAFT_COMMAND, nullptr, batch);
  follower.append(1, 1, 0, {entry, entry, entry});
  must((follower.update.flags & (RAFT_UPDATE_ENTRIES)) == 0, "entries that a snapshot has are stored again");
  follower.append(1, 1, 2, {});
  must(follower.update.messages.n == 1, "no reply");
  must(follower.update.messages.batch[0].append_entries_result.rejected == 0,
       "what a snapshot has is rejected");
}

// 0009: a follower that was brought a snapshot, and a leader that has a newer one.
void olderSnapshot() {
  One leader(1, 10);
  leader.now += 5000;
  leader.timeout();
  leader.vote(2, 2, false);
  leader.snapshot(8, 0);
  leader.acknowledge(3, 10, 2);
  must(leader.update.messages.n == 1 &&
           leader.update.messages.batch[0].type == RAFT_INSTALL_SNAPSHOT,
       "who is behind the log is sent no snapshot");
  leader.snapshot(10, 2);
  leader.acknowledge(3, 10, 9);
  must(leader.update.messages.n == 1 &&
           leader.update.messages.batch[0].type == RAFT_APPEND_ENTRIES &&
           leader.update.messages.batch[0].append_entries.prev_log_index == 9,
       "who has got a snapshot is not heard, since there is a newer one");
}

}  // namespace

void playRaftCase(unsigned patch) {
  switch (patch) {
    case 1:
      return changeBehindAnother();
    case 2:
      return overtakenRejection();
    case 3:
      return replyToAnOlderTerm();
    case 4:
      return latePreVote();
    case 5:
      return preVoteOfALowerTerm();
    case 6:
      return voteOfOneThatDoesNotKnow();
    case 7:
      return voteOfOneWithoutALeader();
    case 8:
      return entriesOfASnapshot();
    case 9:
      return olderSnapshot();
    default:
      throw Violation("there is no such patch");
  }
}

}  // namespace quorum
