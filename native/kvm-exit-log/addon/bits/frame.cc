// SPDX-License-Identifier: Apache-2.0
#include "bits/frame.h"

#include <cinttypes>
#include <cstring>

#include "bits/checksum.h"

namespace exitlog {

namespace {

[[noreturn]] void mismatch(const char* what, uint64_t expected, uint64_t found) {
  throw CorruptError(format("%s: expected 0x%" PRIx64 ", found 0x%" PRIx64, what, expected, found));
}

void expect(const char* what, uint64_t expected, uint64_t found) {
  if (expected != found) mismatch(what, expected, found);
}

void expectPrefix(const FramePrefix& prefix) {
  expect("frame magic", kFrameMagic, prefix.magic);
  expect("frame prefix crc32", crc32(&prefix, offsetof(FramePrefix, crc)), prefix.crc);
}

void expectBounded(const FramePrefix& prefix) {
  const uint32_t bytesMax = bodyBytesMax(prefix.type);
  if (prefix.bodyBytes > bytesMax) {
    throw CorruptError(format("frame of type %u is oversized: at most %u bytes, found %u",
                              prefix.type, bytesMax, prefix.bodyBytes));
  }
}

}  // namespace

uint64_t frameLength(const uint8_t* bytes) {
  FramePrefix prefix;
  memcpy(&prefix, bytes, sizeof prefix);
  expectPrefix(prefix);
  expectBounded(prefix);
  return sizeof prefix + prefix.bodyBytes;
}

void RecordChecker::check(const struct exitlog_record& record) {
  if (!kindIsKnown(record.kind)) {
    throw CorruptError(format("record %" PRIu64 " is of unknown kind %u", ordinal_, record.kind));
  }
  const Position position{record.icount, record.vtime_ns};
  if (position < last_) {
    throw CorruptError(format("record %" PRIu64 " of kind %u at icount %" PRIu64 ", %" PRId64
                              " ns is before icount %" PRIu64 ", %" PRId64
                              " ns, which the log already covers",
                              ordinal_, record.kind, record.icount, record.vtime_ns, last_.icount,
                              last_.vtimeNs));
  }
  last_ = position;
  if (kindHasPayload(record.kind)) {
    // Differences and not sums: `arg` may be anything.
    if (record.arg < cursor_ || record.arg % 8 != 0 || record.arg > dataTo_ ||
        paddedTo8(record.len) > dataTo_ - record.arg) {
      throw CorruptError(format("payload of record %" PRIu64 " of kind %u: expected within %" PRIu64
                                "..%" PRIu64 ", found %u bytes at %" PRIu64,
                                ordinal_, record.kind, cursor_, dataTo_, record.len, record.arg));
    }
    cursor_ = record.arg + paddedTo8(record.len);
  }
  ordinal_++;
}

FrameView readFrame(const uint8_t* bytes, size_t available) {
  FrameView frame;
  if (available < sizeof frame.prefix) {
    throw CorruptError(format("frame is cut short: expected 16 bytes of prefix, found %zu",
                              available));
  }
  memcpy(&frame.prefix, bytes, sizeof frame.prefix);
  const FramePrefix& prefix = frame.prefix;
  expectPrefix(prefix);
  expect("frame flags", 0, prefix.flags);
  if (prefix.type < kFrameBatch || prefix.type > kFrameCheckpoint) {
    throw CorruptError(format("frame type: expected 1 to %u, found %u", kFrameCheckpoint, prefix.type));
  }
  expectBounded(prefix);
  if (prefix.bodyBytes % 8 != 0 || prefix.bodyBytes < 24) {
    throw CorruptError(
        format("frame length: expected whole words and at least 24 bytes, found %u",
               prefix.bodyBytes));
  }
  if (available - sizeof prefix < prefix.bodyBytes) {
    throw CorruptError(format("frame is cut short: expected %u bytes of body, found %zu",
                              prefix.bodyBytes, available - sizeof prefix));
  }
  frame.body = bytes + sizeof prefix;
  frame.totalBytes = sizeof prefix + prefix.bodyBytes;
  return frame;
}

BatchView readBatch(const FrameView& frame) {
  expect("frame type", kFrameBatch, frame.prefix.type);
  const uint64_t bodyBytes = frame.prefix.bodyBytes;
  if (bodyBytes < sizeof(BatchHead)) {
    throw CorruptError(format("batch: expected at least %zu bytes, found %" PRIu64,
                              sizeof(BatchHead), bodyBytes));
  }
  BatchView batch;
  memcpy(&batch.head, frame.body, sizeof batch.head);
  const BatchHead& head = batch.head;
  const BatchHeader& header = head.header;

  expect("batch segment table", segmentTable(bodyBytes), head.segmentTable);
  expect("batch header checksum", batchHeaderChecksum(head), header.headerChecksum);
  if (header.logVersion != kLogVersion) {
    throw VersionError(format("log version: this build reads %u, found %u", kLogVersion,
                              header.logVersion));
  }
  expect("batch root pointer", kRootPointer, head.rootPointer);
  expect("batch flags", 0, header.flags);
  if (header.recordCount > kBatchRecordsMax) {
    throw CorruptError(format("batch records: at most %u, found %u", kBatchRecordsMax,
                              header.recordCount));
  }
  if (header.dataBytes > kBatchDataBytesMax || header.dataBytes % 8 != 0 ||
      header.dataBase % 8 != 0) {
    throw CorruptError(format("batch data: expected whole words, at most %u bytes, found %u at %"
                              PRIu64, kBatchDataBytesMax, header.dataBytes, header.dataBase));
  }
  expect("batch length", batchBodyBytes(header.recordCount, header.dataBytes), bodyBytes);
  expect("batch records pointer", recordsPointer(header.recordCount), head.recordsPointer);
  expect("batch data pointer", dataPointer(header.recordCount, header.dataBytes),
         head.dataPointer);
  expect("batch records tag", recordsTag(header.recordCount), head.recordsTag);
  expect("batch body checksum", xxh64(frame.body + kTagOffset, bodyBytes - kTagOffset),
         header.bodyChecksum);
  if (header.dataBase + header.dataBytes < header.dataBase ||
      header.recordBase + header.recordCount < header.recordBase) {
    throw CorruptError("batch base overflows");
  }

  batch.records = frame.body + sizeof(BatchHead);
  batch.data = batch.records + header.recordCount * sizeof(struct exitlog_record);
  RecordChecker checker(header.recordBase, header.dataBase, header.dataBase + header.dataBytes,
                        Position{0, INT64_MIN});
  uint64_t firstIcount = header.horizonIcount;
  for (uint32_t i = 0; i < header.recordCount; i++) {
    const struct exitlog_record record = recordAt(batch, i);
    if (i == 0) firstIcount = record.icount;
    checker.check(record);
  }
  expect("batch first icount", firstIcount, header.firstIcount);
  expect("batch last icount",
         header.recordCount == 0 ? header.horizonIcount : checker.last().icount,
         header.lastIcount);
  return batch;
}

void checkControl(const FrameView& frame) {
  uint64_t words[3];
  memcpy(words, frame.body, sizeof words);
  const uint64_t bodyBytes = frame.prefix.bodyBytes;
  expect("message segment table", segmentTable(bodyBytes), words[0]);
  const uint64_t dataWords = words[1] >> 32 & 0xffff;
  const uint64_t pointers = words[1] >> 48;
  if (static_cast<uint32_t>(words[1]) != 0 || dataWords < 1 ||
      2 + dataWords + pointers > bodyBytes / 8) {
    throw CorruptError(format("message root: expected a struct after its pointer, found 0x%" PRIx64,
                              words[1]));
  }
  expect("message checksum", controlChecksum(frame.body, bodyBytes), words[2]);
}

void joinCharOut(const BatchView& batch, int64_t channel, std::vector<uint8_t>& to) {
  const BatchHeader& header = batch.head.header;
  for (uint32_t i = 0; i < header.recordCount; i++) {
    const struct exitlog_record record = recordAt(batch, i);
    if (record.kind != EXITLOG_CHAR_OUT || (channel >= 0 && record.channel != channel)) continue;
    const uint8_t* from = batch.data + (record.arg - header.dataBase);
    to.insert(to.end(), from, from + record.len);
  }
}

struct exitlog_record recordAt(const BatchView& batch, uint32_t index) {
  struct exitlog_record record;
  memcpy(&record, batch.records + static_cast<size_t>(index) * sizeof record, sizeof record);
  return record;
}

}  // namespace exitlog
