// SPDX-License-Identifier: Apache-2.0
#include "image/journal_format.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>

#include "bits/checksum.h"
#include "bits/frame.h"
#include "bits/layout.h"

namespace exitlog {

namespace {

[[noreturn]] void damaged(const char* what) { throw CorruptError(format("its %s is damaged", what)); }

template <class Part>
bool partAt(const std::vector<uint8_t>& bytes, uint64_t at, uint64_t end, Part& into) {
  if (at > end || end - at < sizeof into) return false;
  memcpy(&into, bytes.data() + at, sizeof into);
  return true;
}

bool writesOf(const std::vector<uint8_t>& bytes, uint64_t at, const JournalEpoch& epoch,
              const JournalHead& head, JournalContent::Epoch& into) {
  const uint64_t end = at + epoch.bytes;
  at += sizeof epoch;
  for (uint64_t i = 0; i < epoch.count; i++) {
    JournalWrite write;
    if (!partAt(bytes, at, end, write)) return false;
    at += sizeof write;
    if (write.disk >= head.disks) return false;
    const uint64_t room = head.disk[write.disk].bytes;
    if (write.offset > room || write.bytes > room - write.offset) return false;
    const bool hasData = (write.flags & kJournalData) != 0;
    if (hasData && write.bytes > end - at) return false;
    into.writes.emplace_back(write, hasData ? bytes.data() + at : nullptr);
    if (hasData) at += paddedTo8(write.bytes);
  }
  return at == end;
}

enum class Found { whole, torn, nothing };

// The epoch at `at`, if it continues `chain`.
Found epochAt(const std::vector<uint8_t>& bytes, uint64_t at, uint64_t chain,
              const JournalHead& head, JournalContent::Epoch& into, JournalEpoch& found) {
  if (!partAt(bytes, at, bytes.size(), found) || found.magic != kJournalEpochMagic ||
      found.previous != chain) {
    return Found::nothing;
  }
  if (found.bytes < sizeof found || found.bytes % 8 != 0 || found.bytes > bytes.size() - at) {
    return Found::torn;
  }
  JournalEpoch zeroed = found;
  zeroed.checksum = 0;
  Checksum sum(chain);
  sum.add(&zeroed, sizeof zeroed);
  sum.add(bytes.data() + at + sizeof found, found.bytes - sizeof found);
  if (sum.digest() != found.checksum) return Found::torn;
  into.epoch = found.epoch;
  return writesOf(bytes, at, found, head, into) ? Found::whole : Found::torn;
}

}  // namespace

uint64_t headChecksum(const JournalHead& head) {
  return xxh64(&head, offsetof(JournalHead, checksum));
}

uint64_t markChecksum(const JournalHead& head, const JournalMark& mark) {
  return xxh64(&mark, offsetof(JournalMark, checksum), head.id[0] ^ head.id[1]);
}

uint64_t firstChain(const JournalHead& head, uint64_t generation) {
  return xxh64(&head, sizeof head, generation);
}

void readBootId(uint64_t into[2]) {
  const char* path = "/proc/sys/kernel/random/boot_id";
  char text[64] = {};
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  const int error = errno;
  if (fd >= 0) close(fd);
  if (n < 0) throw std::system_error(error, std::generic_category(), path);
  into[0] = xxh64(text, static_cast<size_t>(n), 0);
  into[1] = xxh64(text, static_cast<size_t>(n), 1);
}

std::string journalPath(const std::string& image) { return image + ".journal"; }

std::string markText(const JournalHead& head) {
  return format("the journal of this image is beside the VM's first disk: %016llx%016llx\n",
                static_cast<unsigned long long>(head.id[0]),
                static_cast<unsigned long long>(head.id[1]));
}

JournalContent readJournal(const std::vector<uint8_t>& bytes) {
  JournalContent content{};
  JournalMark mark;
  JournalHead& head = content.head;
  if (!partAt(bytes, 0, bytes.size(), head) || head.magic != kJournalMagic) damaged("head");
  if (head.checksum != headChecksum(head)) damaged("head");
  if (head.version != kJournalVersion) {
    throw VersionError(format("it has version %u, this build reads %u", head.version,
                              kJournalVersion));
  }
  if (head.disks == 0 || head.disks > kJournalDisksMax) damaged("head");
  if (!partAt(bytes, kJournalMarkAt, bytes.size(), mark)) damaged("mark");
  if (mark.checksum != markChecksum(head, mark)) damaged("mark");

  uint64_t at = kJournalStart;
  uint64_t chain = firstChain(head, mark.generation);
  bool hasBegun = mark.begunEnd == 0;
  for (;;) {
    JournalContent::Epoch epoch{};
    JournalEpoch found;
    const Found how = epochAt(bytes, at, chain, head, epoch, found);
    content.isTorn = how == Found::torn;
    if (how != Found::whole) break;
    content.epochs.push_back(std::move(epoch));
    at += found.bytes;
    chain = found.checksum;
    hasBegun = hasBegun || (at == mark.begunEnd && chain == mark.begunChain);
  }
  if (!hasBegun) damaged("body");
  return content;
}

}  // namespace exitlog
