// SPDX-License-Identifier: Apache-2.0
// Two batches, one after the other. One that is taken has every payload.
#include "bits/frame.h"
#include "fuzz.h"
#include "ring/fill.h"

namespace exitlog {

namespace {

void lookThrough(const BatchView& batch, std::vector<uint8_t>& console) {
  const BatchHeader& header = batch.head.header;
  for (uint32_t i = 0; i < header.recordCount; i++) {
    const struct exitlog_record record = recordAt(batch, i);
    must(kindIsKnown(record.kind));
    if (kindHasPayload(record.kind)) {
      touch(batch.data + (record.arg - header.dataBase), record.len);
    }
  }
  joinCharOut(batch, -1, console);
  joinCharOut(batch, 0, console);
  must(console.size() <= 2 * uint64_t{kBatchDataBytesMax});
}

}  // namespace

void fuzz(Input& in) {
  Continuity continuity;
  uint64_t recordDue = 0;
  uint64_t dataDue = 0;
  for (int i = 0; i < 2; i++) {
    const uint8_t mode = in.byte();
    std::vector<uint8_t> bytes = i == 0 ? in.bytes(4096) : in.rest();
    if ((mode & 1) != 0) sealBatch(bytes, (mode & 2) != 0);
    const Exact frame(bytes);
    const BatchView batch = readBatch(readFrame(frame.data(), frame.size()));
    std::vector<uint8_t> console;
    lookThrough(batch, console);
    const BatchHeader& header = batch.head.header;
    if (i == 0) {
      recordDue = header.recordBase;
      dataDue = header.dataBase;
    }
    continuity.check(batch, recordDue, dataDue);
    continuity.advance(batch);
    recordDue += header.recordCount;
    dataDue += header.dataBytes;
    must(!(continuity.covered() < continuity.horizon()));
  }
}

}  // namespace exitlog
