// SPDX-License-Identifier: Apache-2.0
// The bytes of a redo journal (docs/disk-journal.md), and what they are good for.
//
// Little-endian, one behind the other: a head, a mark, epochs. Each epoch's checksum continues
// that of the one before, and the first one's continues the head's and the mark's generation:
// what an earlier generation left behind is not part of the chain.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace exitlog {

constexpr uint64_t kJournalMagic = 0x314f444552585555;  // "UUXREDO1"
constexpr uint64_t kJournalEpochMagic = 0x48434f5045585555;  // "UUXEPOCH"
constexpr uint32_t kJournalVersion = 1;
constexpr uint32_t kJournalDurable = 1;
constexpr uint32_t kJournalData = 1;
constexpr uint64_t kJournalDisksMax = 24;
constexpr uint64_t kJournalMarkAt = 512;
constexpr uint64_t kJournalStart = 1024;  // of the first epoch

// A disk is known by these: an image that was replaced is another one.
struct JournalDisk {
  uint64_t bytes;
  uint64_t inode;
};

struct JournalHead {
  uint64_t magic;
  uint32_t version;
  uint32_t flags;
  uint64_t id[2];    // the marks beside the other disks have it
  uint64_t boot[2];  // of the host that wrote it
  uint64_t disks;
  struct JournalDisk disk[kJournalDisksMax];
  uint64_t zero[8];
  uint64_t checksum;  // of what is before it
};
static_assert(sizeof(JournalHead) == kJournalMarkAt, "the head is a sector");

// Epochs up to `begunEnd` are whole and may be on the disks in part: their damage is no torn end.
struct JournalMark {
  uint64_t generation;
  uint64_t begunEnd;  // offset; 0: none
  uint64_t begunChain;
  uint64_t zero[60];
  uint64_t checksum;  // of the head's id and what is before it
};
static_assert(sizeof(JournalMark) == kJournalStart - kJournalMarkAt, "the mark is a sector");

struct JournalEpoch {
  uint64_t magic;
  uint64_t epoch;
  uint64_t count;     // of its writes
  uint64_t bytes;     // with this head; a multiple of 8
  uint64_t previous;  // the chain up to here
  uint64_t checksum;  // of all its bytes with this as zero; the chain from here on
};

// Then its data, if it has any, padded to 8.
struct JournalWrite {
  uint32_t disk;
  uint32_t flags;
  uint64_t offset;
  uint64_t bytes;
};

uint64_t headChecksum(const JournalHead& head);
uint64_t markChecksum(const JournalHead& head, const JournalMark& mark);
uint64_t firstChain(const JournalHead& head, uint64_t generation);
// This boot of this host. Throws std::system_error.
void readBootId(uint64_t into[2]);
std::string journalPath(const std::string& image);
// Beside every disk but the first.
std::string markText(const JournalHead& head);

// A journal that was read.
struct JournalContent {
  struct Epoch {
    uint64_t epoch;
    std::vector<std::pair<JournalWrite, const uint8_t*>> writes;  // null: zeros
  };
  JournalHead head;
  std::vector<Epoch> epochs;  // to be redone, in order
  bool isTorn = false;        // one more was begun, and nothing of it is on a disk
};

// `bytes` stay the caller's while the content is used. Throws CorruptError for a journal that is
// damaged, VersionError for one of another version.
JournalContent readJournal(const std::vector<uint8_t>& bytes);

}  // namespace exitlog
