// SPDX-License-Identifier: Apache-2.0
// A backup with an image, and one that replays, whose primary sends batches and state of any kind:
// honest ones, that follow those before, and others. What is acknowledged was stored.
#include "receive/receive.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include "bits/ack.h"
#include "bits/errors.h"
#include "bits/peer_error.h"
#include "fuzz.h"
#include "image/memory.h"
#include "receive/image_follower.h"
#include "receive/replay_follower.h"
#include "state/piece.h"
#include "testing/memory_log.h"

namespace exitlog {

namespace {

constexpr uint64_t kMemoryBytes = 8 * Image::kPageBytes;

struct exitlog_record recordOf(Input& in, const BatchHeader& header, uint64_t epoch) {
  struct exitlog_record record {};
  const uint8_t mode = in.byte();
  record.icount = header.horizonIcount + ((mode & 1) != 0 ? in.upTo(3) : 0);
  record.kind = static_cast<uint16_t>(in.upTo(20));
  record.channel = static_cast<uint16_t>(in.upTo(1));
  record.len = static_cast<uint32_t>(in.upTo(48));
  record.arg = epoch;
  if ((mode & 2) == 0) return record;
  return {record.icount, 0, EXITLOG_CHECKPOINT, EXITLOG_CHECKPOINT_EPOCH, 0, epoch};
}

// A batch that follows; then, maybe, one word of it is another.
class Primary {
 public:
  std::vector<uint8_t> batch(Input& in) {
    BatchHead head{};
    BatchHeader& header = head.header;
    header = next_;
    std::vector<struct exitlog_record> records;
    std::vector<uint8_t> data;
    for (uint64_t count = in.upTo(3); count > 0; count--) {
      struct exitlog_record record = recordOf(in, header, epoch_);
      if (kindHasPayload(record.kind)) {
        record.arg = header.dataBase + data.size();
        data.resize(data.size() + paddedTo8(record.len), in.byte());
      }
      if (!records.empty()) record.icount = std::max(record.icount, records.back().icount);
      records.push_back(record);
    }
    header.recordCount = static_cast<uint32_t>(records.size());
    header.horizonIcount += records.empty() ? 1 : 0;
    if (!records.empty() && records.back().icount > header.horizonIcount) {
      header.horizonIcount = records.back().icount;
    }
    std::vector<uint8_t> frame(sizeof(FramePrefix) + sizeof head);
    memcpy(&frame[sizeof(FramePrefix)], &head, sizeof head);
    const auto* from = reinterpret_cast<const uint8_t*>(records.data());
    frame.insert(frame.end(), from, from + records.size() * sizeof records[0]);
    frame.insert(frame.end(), data.begin(), data.end());
    if (in.byte() == 1) {
      const uint64_t at = sizeof(FramePrefix) + 8 * in.upTo(frame.size() / 8 - 3);
      const uint64_t word = in.edge(header.sequence);
      memcpy(&frame[at], &word, sizeof word);
    }
    sealBatch(frame, true);
    memcpy(&head, &frame[sizeof(FramePrefix)], sizeof head);
    next_.sequence = next_.epoch = header.sequence + 1;
    next_.recordBase = header.recordBase + header.recordCount;
    next_.dataBase = header.dataBase + header.dataBytes;
    next_.horizonIcount = header.horizonIcount;
    next_.bodyPrevChecksum = header.headerChecksum ^ header.bodyChecksum;
    return frame;
  }

  std::vector<uint8_t> state(Input& in) {
    Piece piece{ordinal_++, 0, 0, 0, nullptr, epoch_, 0, false};
    std::vector<uint8_t> data;
    switch (in.byte() % 5) {
      case 0: {
        struct exitlog_block block {};
        strncpy(block.name, ImageMemory::kBlock, sizeof block.name - 1);
        block.bytes = block.used = kMemoryBytes;
        data.resize(sizeof block);
        memcpy(data.data(), &block, sizeof block);
        break;
      }
      case 1:
        piece.part = EXITLOG_PART_DEVICES;
        data = in.bytes(64);
        break;
      case 2:
        piece.part = EXITLOG_PART_RAM;
        piece.offset = in.upTo(8) * Image::kPageBytes;
        data = std::vector<uint8_t>(Image::kPageBytes, in.byte());
        break;
      case 3:
        piece.part = EXITLOG_PART_END;
        piece.offset = next_.recordBase + in.upTo(2);
        break;
      default:
        piece.part = EXITLOG_PART_RAM;
        piece.bytes = kMemoryBytes;
        piece.isPacked = in.flip();
        data = in.bytes(64);
        piece.patchBytes = data.size();
    }
    if (piece.patchBytes == 0) piece.bytes = data.size();
    if (!data.empty()) piece.data = data.data();
    std::vector<uint8_t> frame(sizeof(StateHead) + paddedTo8(piece.dataBytes()));
    if (!data.empty()) memcpy(&frame[sizeof(StateHead)], data.data(), data.size());
    frame.resize(sealPiece(frame.data(), piece));
    if (in.byte() == 1) {
      const uint64_t word = in.edge(piece.ordinal);
      memcpy(&frame[sizeof(FramePrefix) + 8 * (2 + in.upTo(6))], &word, sizeof word);
      sealControl(frame, kFrameState);
    }
    return frame;
  }

  void committed(uint64_t epoch) { epoch_ = epoch + 1; }

 private:
  BatchHeader next_{0, 0, 1, 2, kLogVersion, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  uint64_t ordinal_ = 0;
  uint64_t epoch_ = 1;
};

void finish(Receiver& receiver, MemoryLog& log, MemoryOutlet& outlet, bool fails) {
  // Each batch may be a write of its own, to a file of its own.
  for (int steps = 0; steps < 100000; steps++) {
    WriteFault fault{};
    switch (receiver.next(&outlet)) {
      case Receiver::Step::done: return;
      case Receiver::Step::write: {
        const Receiver::Batches batches = receiver.batches();
        const bool wrote = !fails && log.append(batches.bytes, batches.count, fault);
        if (!wrote) fault = {28, "a write"};
        receiver.written(wrote ? nullptr : &fault);
        break;
      }
      case Receiver::Step::prepare: {
        const bool isDone = receiver.prepare(fault);
        receiver.prepared(isDone ? nullptr : &fault);
        break;
      }
      case Receiver::Step::wait:
        if (log.beforeSync) log.beforeSync(fault);
        log.sync();
    }
  }
  abort();
}

void lookAtAcks(MemoryOutlet& outlet, const MemoryLog& log) {
  const std::vector<uint8_t> acks = outlet.take();
  for (size_t at = 0; at < acks.size(); at += sizeof(AckFrame)) {
    must(readAck(&acks[at], sizeof(AckFrame)).sequence < log.writtenEnd);
  }
}

void run(Input& in) {
  static const ImageMemory memory(kMemoryBytes);
  const bool hasImage = in.flip();
  const Shm shm(16, 4096);
  Filler filler(shm);
  VirtualClock clock;
  Events events([] {});
  MemoryOutlet outlet;
  ReceiveOptions options{1, 2, 1, in.flip(), 8192, 4096, {}, nullptr};
  if (hasImage) options.image = std::make_shared<Image>(&memory, nullptr, 4u << 20);
  std::unique_ptr<Follower> follower;
  if (hasImage) follower = std::make_unique<ImageFollower>(options.image, filler, 1);
  else follower = std::make_unique<ReplayFollower>(shm, filler);
  auto owned = std::make_unique<MemoryLog>();
  MemoryLog& log = *owned;
  Receiver receiver(std::move(follower), clock, events, options, std::move(owned));
  Primary primary;
  std::vector<std::unique_ptr<Exact>> round;
  try {
    while (!in.isEmpty()) {
      const uint8_t step = in.byte();
      if (step < 110 && !receiver.isFull() && receiver.mayRead()) {
        round.push_back(std::make_unique<Exact>(primary.batch(in)));
        receiver.take(round.back()->data(), round.back()->size());
      } else if (step < 220) {
        const Exact frame(primary.state(in));
        receiver.takeState(frame.data(), frame.size());
      } else if (step < 250) {
        storeRelease(shm.in().cursors->tail, loadRelaxed(shm.in().cursors->head));
        storeRelease(shm.in().cursors->data_tail, loadRelaxed(shm.in().cursors->data_head));
      } else if (step == 251) {
        receiver.close();
      }
      if (step % 4 != 0 || receiver.isFull()) {
        finish(receiver, log, outlet, step == 255);
        round.clear();
      }
      clock.monotonic += 1000000;
      receiver.pump(&outlet);
      lookAtAcks(outlet, log);
      if (hasImage) primary.committed(options.image->epoch());
      Facts facts;
      receiver.tell(facts);
      events.take();
    }
  } catch (const RingError&) {
  }
}

}  // namespace

void fuzz(Input& in) {
  onlyPeerErrors([&] { run(in); });
}

}  // namespace exitlog
