// SPDX-License-Identifier: Apache-2.0
#include "core/replica.h"

#include <algorithm>

#include "bits/checksum.h"
#include "bits/errors.h"

namespace quorum {

using exitlog::format;

namespace {

// What libraft frees, or leaves for us to free, where it believes the entries' bytes to be. They
// are elsewhere: in slices, which are shared with the log and with messages on their way.
void* stub() { return raft_malloc(1); }

raft_entry viewOf(const Entry& entry, void* batch) {
  raft_entry view{};
  view.term = entry.term;
  view.type = static_cast<raft_entry_type>(entry.kind);
  view.buf.base = const_cast<uint8_t*>(entry.payload.bytes.get());
  view.buf.len = entry.payload.count;
  view.batch = batch;
  return view;
}

}  // namespace

Entry madeEntry(uint64_t term, Kind kind, Slice payload) {
  const uint64_t checksum = exitlog::xxh64(payload.bytes.get(), payload.count);
  return Entry{term, kind, checksum, std::move(payload)};
}

void Replica::checkBoot(const VoteFile& vote, const ReplicaOptions& options) {
  if (vote.boot() == 0 || vote.boot() == options.boot) return;
  throw exitlog::CorruptError("the log was in memory when its host went down: what this replica "
                              "acknowledged may be gone. Remove it, and add it again empty");
}

Replica::Replica(Files& files, Host& host, const ReplicaOptions& options)
    : host_(host), options_(options), vote_(files, options.log.cluster, options.id) {
  checkBoot(vote_, options);
  LogOptions log = options.log;
  log.isDurable = options.isDurable;
  log_ = std::make_unique<EntryLog>(files, log, [this](uint64_t, const Entry& entry) {
    raft_entry view = viewOf(entry, nullptr);
    if (entry.kind == Kind::change) {
      checkConfiguration(entry.payload);
      loadedBytes_.push_back(entry.payload);
    } else {
      view.buf = raft_buffer{nullptr, 0};
    }
    loaded_.push_back(view);
  });
  if (log_->lastIndex() > 0 && vote_.vote().term == 0) {
    throw exitlog::CorruptError("there is a log without a vote");
  }
  // A log that was written without syncs and is synced from now on, or the other way round.
  if (vote_.vote().term != 0 && vote_.boot() != bootOfLog()) vote_.write(vote_.vote(), bootOfLog());
  if (raft_init(&raft_, nullptr, nullptr, options.id, "") != 0) throw std::bad_alloc();
  raft_.tracer = nullptr;
  raft_seed(&raft_, options.seed);
  raft_set_pre_vote(&raft_, true);
  raft_set_election_timeout(&raft_, options.electionMs);
  raft_set_heartbeat_timeout(&raft_, options.heartbeatMs);
  raft_set_max_inflight_entries(&raft_, options.inFlightMax);
}

Replica::~Replica() { raft_close(&raft_, nullptr); }

void Replica::bootstrap(Files& files, const ReplicaOptions& options,
                        const std::vector<Member>& members) {
  VoteFile vote(files, options.log.cluster, options.id);
  EntryLog log(files, options.log, [](uint64_t, const Entry&) {});
  if (vote.vote().term != 0 || log.lastIndex() != 0) {
    throw exitlog::RangeFault("a replica is there already");
  }
  vote.write(Vote{1, 0}, 0);
  log.append(madeEntry(1, Kind::change, Configuration(members).encoded()));
  log.takeSync().run();
}

void Replica::start(uint64_t nowMs) {
  raft_event event{};
  event.type = RAFT_START;
  event.start.term = vote_.vote().term;
  event.start.voted_for = vote_.vote().votedFor;
  event.start.start_index = log_->firstIndex();
  raft_snapshot_metadata metadata{};
  if (base().index != 0) {
    told_ = base().index;
    changes_[base().changedAt] = base().configuration;
    metadata = metadataOf(base());
    event.start.metadata = &metadata;
  }
  event.start.entries = loaded_.data();
  event.start.n_entries = static_cast<unsigned>(loaded_.size());
  reported_ = log_->lastIndex();
  const Answer answer = step(nowMs, event);
  loaded_ = {};
  loadedBytes_ = {};
  if (answer == Answer::refused) throw std::runtime_error(raft_errmsg(&raft_));
  settle(nowMs);
}

uint64_t Replica::deadlineMs() const { return raft_timeout(&raft_); }

void Replica::timeout(uint64_t nowMs) {
  raft_event event{};
  event.type = RAFT_TIMEOUT;
  step(nowMs, event);
  settle(nowMs);
}

void Replica::receive(uint64_t nowMs, uint64_t from, const Slice& packet) {
  Received received = decode(Envelope{options_.log.cluster, from, options_.id}, packet);
  raft_event event{};
  event.type = RAFT_RECEIVE;
  event.receive.message = &received.message;
  std::vector<raft_entry> views;
  if (!received.entries.empty()) {
    void* const batch = stub();
    for (const Entry& entry : received.entries) views.push_back(viewOf(entry, batch));
    received.message.append_entries.entries = views.data();
    received.message.append_entries.n_entries = static_cast<unsigned>(views.size());
    given_ = std::move(received.entries);
  }
  step(nowMs, event);
  settle(nowMs);
}

Replica::Answer Replica::step(uint64_t nowMs, raft_event& event) {
  raft_update update{};
  event.time = nowMs;
  const std::vector<Entry> given = std::move(given_);
  given_ = {};
  const int error = raft_step(&raft_, &event, &update);
  if (error == RAFT_NOTLEADER || error == RAFT_CANTCHANGE || error == RAFT_BADID ||
      error == RAFT_NOTFOUND) {
    return Answer::refused;
  }
  if (error != 0) {
    throw std::runtime_error(format("libraft: %s (%s)", raft_strerror(error), raft_errmsg(&raft_)));
  }
  carryOut(update, given);
  return Answer::done;
}

void Replica::carryOut(const raft_update& update, const std::vector<Entry>& given) {
  if ((update.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) != 0) keepVote();
  if ((update.flags & (RAFT_UPDATE_ENTRIES)) != 0) store(update, given);
  if ((update.flags & (RAFT_UPDATE_MESSAGES)) != 0) sendAll(update);
}

void Replica::keepVote() {
  const Vote now{raft_current_term(&raft_), raft_voted_for(&raft_)};
  if (now.term != vote_.vote().term || now.votedFor != vote_.vote().votedFor) vote_.write(now, bootOfLog());
}

void Replica::store(const raft_update& update, const std::vector<Entry>& given) {
  const auto& [index, batch, count] = update.entries;
  // The end of an AppendEntries, all that was submitted, or a barrier of libraft's own.
  const bool isOurs = !given.empty();
  std::vector<Entry> entries;
  if (isOurs) {
    entries.assign(given.end() - count, given.end());
  } else {
    entries.push_back(madeEntry(batch->term, static_cast<Kind>(batch->type),
                                Slice::copy(batch->buf.base, batch->buf.len)));
  }
  raft_free(batch[0].batch);
  if (index <= log_->lastIndex()) {
    log_->truncate(index);
    reported_ = std::min(reported_, log_->lastIndex());
  }
  for (const Entry& entry : entries) log_->append(entry);
}

void Replica::sendAll(const raft_update& update) {
  for (unsigned i = 0; i < update.messages.n; i++) {
    const raft_message& message = update.messages.batch[i];
    // The checkpoint is the host's to bring, and no message of ours.
    if (message.type == RAFT_INSTALL_SNAPSHOT) {
      host_.behind(message.server_id);
      continue;
    }
    std::vector<Entry> entries;
    if (message.type == RAFT_APPEND_ENTRIES && message.append_entries.n_entries > 0) {
      const auto& args = message.append_entries;
      entries = log_->entries(args.prev_log_index + 1, args.n_entries);
    }
    const uint64_t to = message.server_id;
    host_.send(to, encode(Envelope{options_.log.cluster, options_.id, to}, message, entries));
  }
}

// What follows from a step, until nothing does: stored entries count, committed ones are told, a
// new replica that has caught up votes.
void Replica::settle(uint64_t nowMs) {
  if (isSettling_) return;
  isSettling_ = true;
  do {
    tellCommitted(nowMs);
    promote(nowMs);
  } while (reportStored(nowMs) || told_ < raft_commit_index(&raft_));
  isSettling_ = false;
  const Role now = role();
  if (now != role_ || (now == Role::leader && term() != roleTerm_)) {
    role_ = now;
    roleTerm_ = term();
    host_.roleChanged(now, roleTerm_);
  }
  if (options_.isDurable && !isSyncing_ && !log_->isSynced()) {
    isSyncing_ = true;
    host_.wantsSync();
  }
}

bool Replica::reportStored(uint64_t nowMs) {
  const uint64_t stored = options_.isDurable ? log_->syncedIndex() : log_->lastIndex();
  if (stored <= reported_) return false;
  reported_ = stored;
  raft_event event{};
  event.type = RAFT_PERSISTED_ENTRIES;
  event.persisted_entries.index = stored;
  step(nowMs, event);
  return true;
}

void Replica::synced(uint64_t nowMs) {
  isSyncing_ = false;
  log_->syncDone();
  settle(nowMs);
}

void Replica::tellCommitted(uint64_t nowMs) {
  while (told_ < raft_commit_index(&raft_)) {
    const uint64_t end = std::min<uint64_t>(raft_commit_index(&raft_), told_ + 64);
    for (const Entry& entry : log_->entries(told_ + 1, end - told_)) {
      told_++;
      if (entry.kind == Kind::change) changes_[told_] = entry.payload;
      host_.committed(told_, entry);
      if (entry.kind != Kind::change) continue;
      raft_event event{};
      event.type = RAFT_CONFIGURATION;
      event.configuration.index = told_;
      const raft_buffer bytes{const_cast<uint8_t*>(entry.payload.bytes.get()), entry.payload.count};
      if (raft_configuration_decode(&bytes, &event.configuration.conf) != 0) throw std::bad_alloc();
      step(nowMs, event);
    }
  }
}

bool Replica::submit(uint64_t nowMs, const std::vector<Slice>& payloads) {
  std::vector<Entry> entries;
  for (const Slice& payload : payloads) entries.push_back(madeEntry(term(), Kind::batch, payload));
  const Answer answer = submitAll(nowMs, entries);
  settle(nowMs);
  return answer == Answer::done;
}

Replica::Answer Replica::submitAll(uint64_t nowMs, const std::vector<Entry>& entries) {
  if (role() != Role::leader) return Answer::refused;
  void* const batch = stub();
  std::vector<raft_entry> views;
  for (const Entry& entry : entries) views.push_back(viewOf(entry, batch));
  given_ = entries;
  raft_event event{};
  event.type = RAFT_SUBMIT;
  event.submit.entries = views.data();
  event.submit.n = static_cast<unsigned>(views.size());
  const Answer answer = step(nowMs, event);
  if (answer == Answer::refused) raft_free(batch);
  return answer;
}

Role Replica::role() const {
  switch (raft_state(&raft_)) {
    case RAFT_LEADER:
      return Role::leader;
    case RAFT_CANDIDATE:
      return Role::candidate;
    default:
      return Role::follower;
  }
}

uint64_t Replica::leader() const {
  raft_id id = 0;
  const char* address = nullptr;
  raft_leader(&raft_, &id, &address);
  return id;
}

bool Replica::transfer(uint64_t nowMs, uint64_t to) {
  raft_event event{};
  event.type = RAFT_TRANSFER;
  event.transfer.server_id = to;
  const Answer answer = step(nowMs, event);
  settle(nowMs);
  return answer == Answer::done;
}

// libraft takes its configuration over.
raft_snapshot_metadata Replica::metadataOf(const Base& base) {
  raft_snapshot_metadata metadata{};
  metadata.index = base.index;
  metadata.term = base.term;
  metadata.configuration_index = base.changedAt;
  const raft_buffer bytes{const_cast<uint8_t*>(base.configuration.bytes.get()),
                          base.configuration.count};
  if (raft_configuration_decode(&bytes, &metadata.configuration) != 0) throw std::bad_alloc();
  return metadata;
}

Base Replica::baseAt(uint64_t index) const {
  if (index == base().index) return base();
  if (index < base().index || index > told_) throw std::logic_error("no base can be there");
  const auto change = std::prev(changes_.upper_bound(index));
  return Base{index, log_->entries(index, 1)[0].term, change->first, change->second};
}

std::optional<TrimJob> Replica::takeTrim(uint64_t index, uint64_t keep) {
  const uint64_t stored = options_.isDurable ? log_->syncedIndex() : log_->lastIndex();
  if (trimming_ || index <= base().index || index > std::min(told_, stored)) return std::nullopt;
  TrimJob job = log_->trimJob(baseAt(index), keep);
  trimming_ = job.kept;
  return job;
}

void Replica::trimmed(uint64_t nowMs) {
  const KeptBase kept = *trimming_;
  trimming_.reset();
  raft_event event{};
  event.type = RAFT_SNAPSHOT;
  event.snapshot.metadata = metadataOf(kept.base);
  event.snapshot.trailing = static_cast<unsigned>(kept.base.index + 1 - kept.firstIndex);
  step(nowMs, event);
  log_->trimDone(kept);
  changes_.erase(changes_.begin(), changes_.find(kept.base.changedAt));
  settle(nowMs);
}

bool Replica::install(Files& files, const ReplicaOptions& options, const Base& base) {
  checkBase(base);
  VoteFile vote(files, options.log.cluster, options.id);
  checkBoot(vote, options);
  {
    LogOptions about = options.log;
    about.isDurable = options.isDurable;
    EntryLog log(files, about, [](uint64_t, const Entry&) {});
    // It may have acknowledged what is behind that entry.
    const bool hasAll = base.index <= log.base().index ||
                        (base.index <= log.lastIndex() &&
                         log.entries(base.index, 1)[0].term == base.term);
    if (hasAll) return false;
  }
  // A log has a vote beside it, of no older term.
  const uint64_t boot = options.isDurable ? 0 : options.boot;
  if (vote.vote().term < base.term) vote.write(Vote{base.term, 0}, boot);
  EntryLog::install(files, options.log.cluster, base);
  return true;
}

}  // namespace quorum
