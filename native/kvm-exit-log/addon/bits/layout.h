// SPDX-License-Identifier: Apache-2.0
// The bytes of a frame and of a batch: the one place in C++ that knows them.
//
// schema/log.capnp documents the same layout; docs/log-format.md explains it.
// Everything is little-endian, as is every host that this runs on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exitlog_abi.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the log's bytes are the host's");

namespace exitlog {

constexpr uint32_t kFrameMagic = 0x31524455;  // "UDR1"
constexpr uint32_t kBodyBytesMax = 8u << 20;
constexpr uint32_t kControlBytesMax = 64u << 10;
constexpr uint32_t kStateDataBytesMax = 1u << 20;
// Beside EXITLOG_PIECE_DATA, between daemons only: the data are a patch (bits/patch.h).
constexpr uint32_t kPiecePatch = 2;
constexpr uint32_t kStateHeadBytes = 72;  // of the body; state/piece.h has its fields
constexpr uint32_t kStateBodyBytesMax = kStateHeadBytes + kStateDataBytesMax;
constexpr uint32_t kQuorumBodyBytesMax = 1u << 20;
constexpr uint16_t kLogVersion = 1;
constexpr uint32_t kBatchRecordsMax = 4096;
constexpr uint32_t kBatchDataBytesMax = 1u << 20;

// Those that are looked into here; docs/log-format.md has them all.
enum FrameType : uint16_t {
  kFrameBatch = 1,
  kFrameAck = 5,
  kFrameHeartbeat = 6,
  kFrameState = 13,
  kFrameCheckpoint = 14,  // the last that a pair knows
  kFrameQuorum = 15,      // between replicas, and never in a file: addon/quorum/
};

constexpr uint32_t bodyBytesMax(uint16_t type) {
  if (type == kFrameBatch) return kBodyBytesMax;
  if (type == kFrameQuorum) return kQuorumBodyBytesMax;
  return type == kFrameState ? kStateBodyBytesMax : kControlBytesMax;
}

struct FramePrefix {
  uint32_t magic;
  uint16_t type;
  uint16_t flags;
  uint32_t bodyBytes;
  uint32_t crc;  // zlib's crc32 of the 12 bytes before
};
static_assert(sizeof(FramePrefix) == 16, "");

// Words 2..18 of the message: struct Batch's data section.
struct BatchHeader {
  uint64_t headerChecksum;
  uint64_t bodyChecksum;
  uint64_t vmIdLo;
  uint64_t vmIdHi;
  uint16_t logVersion;
  uint16_t flags;
  uint32_t recordCount;
  uint32_t term;
  uint32_t dataBytes;
  uint64_t epoch;  // always `sequence`: the format has both
  uint64_t sequence;
  uint64_t firstIcount;
  uint64_t lastIcount;
  uint64_t horizonIcount;
  int64_t horizonVtimeNs;
  uint64_t recordBase;
  uint64_t dataBase;
  uint64_t outputsReleased;
  uint64_t sealedAtNs;
  uint64_t bodyPrevChecksum;
};

constexpr uint64_t kHeaderWords = 17;
constexpr uint64_t kRecordWords = sizeof(struct exitlog_record) / 8;
static_assert(sizeof(BatchHeader) == kHeaderWords * 8, "");
static_assert(offsetof(BatchHeader, horizonIcount) == 10 * 8, "");
static_assert(offsetof(BatchHeader, bodyPrevChecksum) == 16 * 8, "");
static_assert(sizeof(struct exitlog_record) == 32, "");
static_assert(offsetof(struct exitlog_record, vtime_ns) == 8, "");
static_assert(offsetof(struct exitlog_record, kind) == 16, "");
static_assert(offsetof(struct exitlog_record, channel) == 18, "");
static_assert(offsetof(struct exitlog_record, len) == 20, "");
static_assert(offsetof(struct exitlog_record, arg) == 24, "");
static_assert(sizeof(struct exitlog_digest) == 40, "");
static_assert(sizeof(struct exitlog_cut_digest) == 48, "");
static_assert(sizeof(struct exitlog_ring) == 128, "");
static_assert(offsetof(struct exitlog_shm, out) == 128, "");
static_assert(offsetof(struct exitlog_shm, in) == 256, "");
static_assert(offsetof(struct exitlog_shm, horizon_seq) == 384, "");
static_assert(offsetof(struct exitlog_shm, disk_marks_done) == 520, "");
static_assert(offsetof(struct exitlog_shm, control) == 640, "");
static_assert(offsetof(struct exitlog_shm, disk_marks_wanted) == 696, "");
static_assert(offsetof(struct exitlog_shm, error) == 832, "");
static_assert(offsetof(struct exitlog_shm, epoch_state) == 1856, "");
static_assert(offsetof(struct exitlog_shm, events) == 1984, "");
static_assert(sizeof(struct exitlog_piece) == 32, "");
static_assert(sizeof(struct exitlog_shm) == 2752, "");

// Everything of a batch that precedes its records, contiguous.
struct BatchHead {
  uint64_t segmentTable;
  uint64_t rootPointer;
  BatchHeader header;
  uint64_t recordsPointer;
  uint64_t dataPointer;
  uint64_t recordsTag;
};
constexpr uint64_t kTagOffset = offsetof(BatchHead, recordsTag);
static_assert(kTagOffset == 21 * 8 && sizeof(BatchHead) == 22 * 8, "");

// Cap'n Proto pointers (encoding spec, "Structs" and "Lists").
constexpr uint64_t structPointer(uint64_t dataWords, uint64_t pointers) {
  return dataWords << 32 | pointers << 48;
}
constexpr uint64_t listPointer(uint64_t offsetWords, uint64_t elementSize, uint64_t count) {
  return 1 | offsetWords << 2 | elementSize << 32 | count << 35;
}
constexpr uint64_t listCount(uint64_t pointer) { return pointer >> 35; }
constexpr uint64_t kRootPointer = structPointer(kHeaderWords, 2);
// Past the other pointer to the tag.
constexpr uint64_t recordsPointer(uint64_t count) {
  return listPointer(1, 7, count * kRecordWords);
}
// Past the tag and the records.
constexpr uint64_t dataPointer(uint64_t count, uint64_t bytes) {
  return listPointer(1 + count * kRecordWords, 2, bytes);
}
constexpr uint64_t recordsTag(uint64_t count) {
  return count << 2 | structPointer(kRecordWords, 0);
}
constexpr uint64_t segmentTable(uint64_t bodyBytes) { return (bodyBytes / 8 - 1) << 32; }

constexpr uint64_t batchBodyBytes(uint64_t records, uint64_t dataBytes) {
  return sizeof(BatchHead) + records * sizeof(struct exitlog_record) + dataBytes;
}
constexpr uint64_t kBatchFrameBytesMax =
    sizeof(FramePrefix) + batchBodyBytes(kBatchRecordsMax, kBatchDataBytesMax);

// A segment header's data section (schema/wire.capnp, struct SegmentHeader): what
// differs between the files of one log.
constexpr uint64_t kSegmentTermAt = 28;           // u32
constexpr uint64_t kSegmentIndexAt = 32;          // u32
constexpr uint64_t kSegmentFirstSequenceAt = 40;  // u64
constexpr uint64_t kSegmentCreatedAtNsAt = 48;    // u64
constexpr uint64_t kSegmentDataBytes = 56;

constexpr uint64_t paddedTo8(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

constexpr bool isIn(uint64_t kinds, uint16_t kind) { return kind < 64 && (kinds >> kind & 1); }
constexpr bool kindIsKnown(uint16_t kind) { return isIn(EXITLOG_KINDS_KNOWN, kind); }
constexpr bool kindHasPayload(uint16_t kind) { return isIn(EXITLOG_KINDS_WITH_PAYLOAD, kind); }
// Outputs in the sense of output commit: someone outside waits for the ack.
constexpr bool kindIsOutput(uint16_t kind) {
  return kind == EXITLOG_NET_OUT || kind == EXITLOG_CHAR_OUT || kind == EXITLOG_END;
}

// An epoch ends there, or the log.
constexpr bool isCut(uint16_t kind, uint16_t channel) {
  return kind == EXITLOG_END ||
         (kind == EXITLOG_CHECKPOINT && channel == EXITLOG_CHECKPOINT_EPOCH);
}

struct Position {
  uint64_t icount = 0;
  int64_t vtimeNs = 0;
  bool operator<(const Position& o) const {
    return icount != o.icount ? icount < o.icount : vtimeNs < o.vtimeNs;
  }
};

// The end of a log, where the next batch is to fit: a survivor continues what it received.
struct LogEnd {
  uint64_t sequence = 0;  // of the next batch
  uint64_t recordEnd = 0;
  uint64_t dataEnd = 0;
  uint64_t checksum = 0;  // of the last batch
  Position horizon;
  Position covered;  // horizon or last record, whichever is later
};

}  // namespace exitlog
