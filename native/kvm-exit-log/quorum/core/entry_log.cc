// SPDX-License-Identifier: Apache-2.0
#include "core/entry_log.h"

#include <algorithm>

#include "bits/errors.h"

namespace quorum {

using exitlog::CorruptError;
using exitlog::format;

namespace {

// An entry is found by its file's nearest mark, and heads from there on.
constexpr uint64_t kMarkBytes = 256u << 10;
constexpr uint64_t kCopyBytes = 1u << 20;
constexpr char kNew[] = ".new";  // not whole yet

unsigned long long shown(uint64_t number) { return number; }

}  // namespace

void SyncJob::run() const {
  for (const auto& file : files) file->sync();
  if (names != nullptr) names->syncNames();
}

EntryLog::EntryLog(Files& files, LogOptions options,
                   const std::function<void(uint64_t, const Entry&)>& each)
    : files_(files), options_(options) {
  for (const std::string& name : files_.list()) {
    if (name.find(kNew, name.find('.')) != std::string::npos) files_.remove(name);
  }
  loadBase();
  for (const uint64_t number : segmentNumbers(files_)) {
    if (!load(number, each)) {
      dropBehind(number);
      break;
    }
  }
  if (last_ < base_.index) damaged(firstSegment_, 0);
  renew();
}

// What comes before the base's first segment is no longer the log's, whether a trim could still
// remove it or not.
void EntryLog::loadBase() {
  const std::optional<KeptBase> kept = readBase(files_, options_.cluster);
  if (!kept) return;
  base_ = kept->base;
  firstSegment_ = kept->segment;
  first_ = kept->firstIndex;
  last_ = first_ - 1;
  lastTerm_ = base_.term;
  chain_ = kept->previous;
  synced_ = base_.index;
  // Its name may be in memory only, if the sync of names behind it failed.
  files_.syncNames();
  for (const uint64_t number : segmentNumbers(files_)) {
    if (number < firstSegment_) files_.remove(segmentName(number));
  }
}

void EntryLog::install(Files& files, uint64_t cluster, const Base& base) {
  const std::optional<KeptBase> before = readBase(files, cluster);
  uint64_t next = before ? before->segment : 1;
  const std::vector<uint64_t> numbers = segmentNumbers(files);
  for (const uint64_t number : numbers) next = std::max(next, number + 1);
  writeBase(files, cluster, KeptBase{base, next, base.index + 1, 0});
  for (const uint64_t number : numbers) files.remove(segmentName(number));
}

// False: it ends before its end, and nothing behind that place was on the disk.
bool EntryLog::load(uint64_t number, const std::function<void(uint64_t, const Entry&)>& each) {
  const std::shared_ptr<File> file = files_.open(segmentName(number));
  SegmentReader reader(file);
  SegmentHeader header{};
  const bool follows =
      number == (segments_.empty() ? firstSegment_ : segments_.rbegin()->first + 1);
  const bool isWhole = reader.header(header);
  if (isWhole && header.cluster != options_.cluster) {
    throw CorruptError(segmentName(number) + " is another VM's");
  }
  if (!follows || !isWhole || header.number != number || header.firstIndex != last_ + 1 ||
      header.previous != chain_) {
    damaged(number, 0);
    return false;
  }
  Segment& segment = segments_[number];
  segment = Segment{file, header.firstIndex, header.previous, sizeof header, {}, false};
  while (segment.end < reader.size()) {
    EntryHead head{};
    Slice payload;
    const uint64_t offset = segment.end;
    if (!reader.head(offset, head) || head.previous != chain_ || head.index != last_ + 1 ||
        !reader.payload(offset, head, payload)) {
      damaged(number, offset);
      return false;
    }
    const Entry entry{head.term, static_cast<Kind>(head.kind), head.payloadChecksum, payload};
    note(segment, offset);
    segment.end = offset + storedBytes(head.bytes);
    last_ = head.index;
    lastTerm_ = head.term;
    chain_ = head.checksum;
    synced_ = std::max(synced_, head.synced);
    cache(entry);
    each(last_, entry);
  }
  return true;
}

// Whether what cannot be read at that place had been on the disk: then it throws.
void EntryLog::damaged(uint64_t number, uint64_t offset) const {
  uint64_t synced = base_.index;
  for (const uint64_t each : segmentNumbers(files_)) {
    if (each < number) continue;
    SegmentReader reader(files_.open(segmentName(each)));
    synced = std::max(synced, reader.syncedBehind(each == number ? offset : 0));
  }
  if (synced > last_) {
    throw CorruptError(format("%s is damaged at byte %llu: entry %llu is not there, and %llu was "
                              "on the disk. Remove this replica, and add it again empty",
                              segmentName(number).c_str(), shown(offset), shown(last_ + 1),
                              shown(synced)));
  }
}

void EntryLog::dropBehind(uint64_t number) {
  const std::vector<uint64_t> numbers = segmentNumbers(files_);
  // The last one first: what is left is always a log.
  for (auto it = numbers.rbegin(); it != numbers.rend() && *it >= number; ++it) {
    if (segments_.count(*it) != 0) break;
    files_.remove(segmentName(*it));
  }
}

// What lies in the page cache since a sync that failed looks as if it were on the disk, and no
// later sync writes it: a start writes anew what no head says was on the disk.
void EntryLog::renew() {
  for (auto& [number, segment] : segments_) {
    const auto next = segments_.find(number + 1);
    const uint64_t last = next == segments_.end() ? last_ : next->second.firstIndex - 1;
    const bool hasTorn = segment.file->size() > segment.end;
    if (!hasTorn && (last <= synced_ || !options_.isDurable)) continue;
    const std::string name = segmentName(number);
    const std::shared_ptr<File> copy = files_.create(name + kNew);
    std::vector<uint8_t> bytes;
    for (uint64_t at = 0; at < segment.end; at += bytes.size()) {
      bytes.resize(std::min<uint64_t>(segment.end - at, kCopyBytes));
      segment.file->read(at, bytes.data(), bytes.size());
      copy->write(at, bytes.data(), bytes.size());
    }
    copy->sync();
    files_.rename(name + kNew, name);
    segment.file = copy;
  }
  files_.syncNames();
  synced_ = options_.isDurable ? last_ : 0;
}

void EntryLog::note(Segment& segment, uint64_t offset) {
  if (segment.marks.empty() || offset - segment.marks.back().offset >= kMarkBytes) {
    segment.marks.push_back(Mark{last_ + 1, offset});
  }
}

void EntryLog::cache(const Entry& entry) {
  cache_.push_back(entry);
  cached_ += entry.payload.count;
  while (cached_ > options_.cacheBytes && cache_.size() > 1) {
    cached_ -= cache_.front().payload.count;
    cache_.pop_front();
  }
}

void EntryLog::begin() {
  const uint64_t number = segments_.empty() ? firstSegment_ : segments_.rbegin()->first + 1;
  const SegmentHeader header = segmentHeader(options_.cluster, number, last_ + 1, chain_);
  Segment segment{files_.create(segmentName(number)), last_ + 1, chain_, sizeof header, {}, true};
  segment.file->write(0, &header, sizeof header);
  segments_.emplace(number, std::move(segment));
  namesDirty_ = true;
}

void EntryLog::append(const Entry& entry) {
  const uint64_t bytes = storedBytes(entry.payload.count);
  const bool isFull = !segments_.empty() && segments_.rbegin()->second.end > sizeof(SegmentHeader) &&
                      segments_.rbegin()->second.end + bytes > options_.segmentBytes;
  if (segments_.empty() || isFull) begin();
  Segment& segment = segments_.rbegin()->second;
  EntryHead head{0,
                 chain_,
                 last_ + 1,
                 entry.term,
                 synced_,
                 entry.checksum,
                 static_cast<uint32_t>(entry.payload.count),
                 static_cast<uint32_t>(entry.kind)};
  head.checksum = checksumOf(head);
  static constexpr uint8_t kZeros[8] = {};
  const Part parts[] = {{&head, sizeof head},
                        {entry.payload.bytes.get(), entry.payload.count},
                        {kZeros, bytes - sizeof head - entry.payload.count}};
  segment.file->write(segment.end, parts, 3);
  note(segment, segment.end);
  segment.end += bytes;
  segment.isDirty = true;
  last_++;
  lastTerm_ = entry.term;
  chain_ = head.checksum;
  cache(entry);
}

EntryLog::Segments::iterator EntryLog::holder(uint64_t index) {
  auto it = segments_.end();
  do {
    --it;
  } while (it->second.firstIndex > index);
  return it;
}

uint64_t EntryLog::find(SegmentReader& reader, const Segment& segment, uint64_t index,
                        EntryHead& head) {
  auto mark = std::upper_bound(segment.marks.begin(), segment.marks.end(), index,
                               [](uint64_t wanted, const Mark& one) { return wanted < one.index; });
  uint64_t offset = (--mark)->offset;
  for (;; offset += storedBytes(head.bytes)) {
    if (!reader.head(offset, head) || head.index > index) {
      throw CorruptError(format("entry %llu was written, and is damaged now", shown(index)));
    }
    if (head.index == index) return offset;
  }
}

std::vector<Entry> EntryLog::entries(uint64_t first, uint64_t count) {
  if (first < first_) throw std::logic_error("an entry that was trimmed");
  std::vector<Entry> found;
  found.reserve(count);
  const uint64_t cachedFrom = last_ + 1 - cache_.size();
  if (first < cachedFrom) read(first, std::min(count, cachedFrom - first), found);
  while (found.size() < count) found.push_back(cache_[first + found.size() - cachedFrom]);
  return found;
}

void EntryLog::read(uint64_t first, uint64_t count, std::vector<Entry>& into) {
  while (into.size() < count) {
    const Segment& segment = holder(first + into.size())->second;
    SegmentReader reader(segment.file);
    EntryHead head{};
    uint64_t offset = find(reader, segment, first + into.size(), head);
    for (; into.size() < count && offset < segment.end; offset += storedBytes(head.bytes)) {
      Slice payload;
      if (!reader.head(offset, head) || !reader.payload(offset, head, payload)) {
        throw CorruptError(format("entry %llu was written, and is damaged now",
                                  shown(first + into.size())));
      }
      into.push_back(Entry{head.term, static_cast<Kind>(head.kind), head.payloadChecksum, payload});
    }
  }
}

// Rare, and never beside an output: it waits for the disk, so that nothing of what is deleted can
// come back behind what is written over it.
void EntryLog::truncate(uint64_t index) {
  if (index > last_) return;
  const auto at = holder(index);
  const bool hasBehind = segments_.rbegin()->first > at->first;
  while (segments_.rbegin()->first > at->first) {
    files_.remove(segmentName(segments_.rbegin()->first));
    segments_.erase(segments_.rbegin()->first);
  }
  // Else they could come back behind a file that was cut already, and look like damage.
  if (hasBehind) files_.syncNames();
  Segment& segment = at->second;
  SegmentReader reader(segment.file);
  EntryHead head{};
  const uint64_t offset = find(reader, segment, index, head);
  chain_ = head.previous;
  segment.file->truncate(offset);
  segment.file->sync();
  segment.end = offset;
  while (!segment.marks.empty() && segment.marks.back().index >= index) segment.marks.pop_back();
  for (; last_ >= index; last_--) {
    if (cache_.empty()) continue;
    cached_ -= cache_.back().payload.count;
    cache_.pop_back();
  }
  lastTerm_ = last_ < first_ ? base_.term : entries(last_, 1)[0].term;
  synced_ = std::min(synced_, last_);
  if (syncing_) syncing_ = std::min(*syncing_, last_);
}

SyncJob EntryLog::takeSync() {
  SyncJob job;
  for (auto& [number, segment] : segments_) {
    if (!segment.isDirty) continue;
    job.files.push_back(segment.file);
    segment.isDirty = false;
  }
  if (namesDirty_) job.names = &files_;
  namesDirty_ = false;
  job.end = last_;
  syncing_ = last_;
  return job;
}

void EntryLog::syncDone() {
  synced_ = std::max(synced_, *syncing_);
  syncing_.reset();
}

// Entries are dropped by whole segments; one that has the base's own entry stays, so that a log
// that lost its segments is told from one that went on behind a checkpoint.
TrimJob EntryLog::trimJob(const Base& base, uint64_t keep) {
  const uint64_t from = std::max(first_, base.index > keep ? base.index - keep : 1);
  const auto at = holder(from);
  TrimJob job{&files_, options_.cluster,
              KeptBase{base, at->first, at->second.firstIndex, at->second.previous}, {}};
  for (auto it = segments_.begin(); it != at; ++it) job.dropped.push_back(segmentName(it->first));
  return job;
}

void EntryLog::trimDone(const KeptBase& kept) {
  base_ = kept.base;
  firstSegment_ = kept.segment;
  first_ = kept.firstIndex;
  segments_.erase(segments_.begin(), segments_.find(kept.segment));
}

}  // namespace quorum
