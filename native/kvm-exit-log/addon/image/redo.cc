// SPDX-License-Identifier: Apache-2.0
#include "image/redo.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <system_error>

#include "bits/errors.h"
#include "image/disks.h"
#include "image/journal_files.h"
#include "image/journal_format.h"

namespace exitlog {

namespace {

bool hasMagic(const std::vector<uint8_t>& bytes) {
  return bytes.size() >= sizeof kJournalMagic &&
         memcmp(bytes.data(), &kJournalMagic, sizeof kJournalMagic) == 0;
}

// A mark or a journal that lies beside a disk and is not this journal's.
void checkMarks(const std::vector<std::string>& images, const std::string* expected) {
  for (size_t i = 1; i < images.size(); i++) {
    std::vector<uint8_t> text;
    if (!readFile(journalPath(images[i]), text)) continue;
    if (hasMagic(text)) throw CorruptError(format("%s is not the VM's first disk", images[i].c_str()));
    if (expected == nullptr) {
      throw CorruptError(format("there is no %s", journalPath(images[0]).c_str()));
    }
    if (std::string(text.begin(), text.end()) != *expected) {
      throw CorruptError(format("%s has the mark of another journal", images[i].c_str()));
    }
  }
}

void checkDisks(const JournalHead& head, const std::vector<std::string>& images,
                const DiskFiles& disks) {
  if (head.disks != images.size()) {
    throw CorruptError(format("it is of %" PRIu64 " disks, there are %zu", head.disks,
                              images.size()));
  }
  for (size_t i = 0; i < images.size(); i++) {
    if (head.disk[i].bytes == disks.bytes(i) && head.disk[i].inode == disks.inode(i)) continue;
    throw CorruptError(format("%s is another file than it was written for", images[i].c_str()));
  }
}

// Without syncs a host's crash leaves a mixture of older and newer blocks.
void checkBoot(const JournalHead& head) {
  uint64_t boot[2];
  readBootId(boot);
  const bool isSame = boot[0] == head.boot[0] && boot[1] == head.boot[1];
  if (isSame || (head.flags & kJournalDurable) != 0) return;
  throw CorruptError("the host went down before the disks were synced (durability = \"memory\")");
}

}  // namespace

Redone redoDisks(const std::vector<std::string>& images) {
  Redone redone;
  if (images.empty()) return redone;
  const std::string path = journalPath(images[0]);
  std::vector<uint8_t> bytes;
  if (!readFile(path, bytes)) {
    checkMarks(images, nullptr);
    return redone;
  }
  if (!hasMagic(bytes)) {
    throw CorruptError("it is damaged, or this is not the VM's first disk");
  }
  const JournalContent content = readJournal(bytes);
  const std::string mark = markText(content.head);
  checkMarks(images, &mark);
  DiskFiles disks(images);
  checkDisks(content.head, images, disks);
  checkBoot(content.head);
  for (const JournalContent::Epoch& epoch : content.epochs) {
    for (const auto& [write, data] : epoch.writes) {
      disks.write(write.disk, write.offset, data, write.bytes);
    }
    redone.last = epoch.epoch;
  }
  disks.sync();
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), path);
  try {
    removeJournal(images, fd, mark);
  } catch (...) {
    close(fd);
    throw;
  }
  close(fd);
  syncFolders(images);
  redone.found = true;
  redone.epochs = content.epochs.size();
  redone.dropped = content.isTorn;
  return redone;
}

}  // namespace exitlog
