// SPDX-License-Identifier: Apache-2.0
// A redo journal of disks: what is to be redone lies on its disks and in the bytes.
#include "image/journal_format.h"

#include <cstring>

#include "bits/checksum.h"
#include "fuzz.h"

namespace exitlog {

namespace {

void put(std::vector<uint8_t>& bytes, size_t at, const void* what, size_t count) {
  if (bytes.size() < at + count) bytes.resize(at + count);
  if (count > 0) memcpy(bytes.data() + at, what, count);
}

JournalHead headOf(Input& in) {
  JournalHead head{};
  head.magic = kJournalMagic;
  head.version = in.byte() == 1 ? 2 : kJournalVersion;
  head.id[0] = in.number(2);
  head.disks = 1 + in.upTo(3);
  if (in.byte() == 1) head.disks = in.edge(kJournalDisksMax);
  for (uint64_t i = 0; i < kJournalDisksMax; i++) head.disk[i] = {in.upTo(1 << 16), i};
  head.checksum = headChecksum(head);
  return head;
}

// @returns the chain after it
uint64_t addEpoch(Input& in, std::vector<uint8_t>& bytes, uint64_t chain, uint64_t number) {
  const size_t at = bytes.size();
  JournalEpoch epoch{kJournalEpochMagic, number, in.upTo(4), 0, chain, 0};
  bytes.resize(at + sizeof epoch);
  for (uint64_t i = 0; i < epoch.count; i++) {
    const std::vector<uint8_t> data = in.bytes(64);
    JournalWrite write{static_cast<uint32_t>(in.upTo(4)), in.byte(), in.edge(512), data.size()};
    if (in.byte() == 1) write.bytes = in.edge(data.size());
    put(bytes, bytes.size(), &write, sizeof write);
    put(bytes, bytes.size(), data.data(), data.size());
    bytes.resize(paddedTo8(bytes.size()));
  }
  epoch.bytes = bytes.size() - at;
  if (in.byte() == 1) epoch.bytes = in.edge(epoch.bytes);
  if (in.byte() == 1) epoch.count = in.edge(epoch.count);
  put(bytes, at, &epoch, sizeof epoch);
  if (epoch.bytes > bytes.size() - at || epoch.bytes < sizeof epoch) return chain;
  Checksum sum(chain);
  sum.add(bytes.data() + at, epoch.bytes);
  epoch.checksum = sum.digest();
  put(bytes, at, &epoch, sizeof epoch);
  return epoch.checksum;
}

std::vector<uint8_t> journalOf(Input& in) {
  std::vector<uint8_t> bytes;
  const JournalHead head = headOf(in);
  JournalMark mark{};
  mark.generation = in.number(1);
  put(bytes, 0, &head, sizeof head);
  bytes.resize(kJournalStart);
  uint64_t chain = firstChain(head, mark.generation);
  const uint64_t epochs = in.upTo(4);
  const uint64_t begun = in.upTo(5);
  for (uint64_t i = 0; i < epochs; i++) {
    chain = addEpoch(in, bytes, chain, i + 1);
    if (i + 1 != begun) continue;
    mark.begunEnd = bytes.size();
    mark.begunChain = chain;
  }
  if (in.byte() == 1) mark.begunEnd = in.edge(mark.begunEnd);
  mark.checksum = markChecksum(head, mark);
  put(bytes, kJournalMarkAt, &mark, sizeof mark);
  const std::vector<uint8_t> behind = in.bytes(64);
  put(bytes, bytes.size(), behind.data(), behind.size());
  bytes.resize(bytes.size() - in.upTo(bytes.size()) * (in.byte() == 1));
  return bytes;
}

}  // namespace

void fuzz(Input& in) {
  const std::vector<uint8_t> bytes = in.byte() == 1 ? in.rest() : journalOf(in);
  const std::vector<uint8_t> exact(bytes);
  const JournalContent content = readJournal(exact);
  for (const JournalContent::Epoch& epoch : content.epochs) {
    for (const auto& [write, data] : epoch.writes) {
      must(write.disk < content.head.disks);
      const uint64_t size = content.head.disk[write.disk].bytes;
      must(write.offset <= size && write.bytes <= size - write.offset);
      if (data != nullptr) touch(data, write.bytes);
    }
  }
}

}  // namespace exitlog
