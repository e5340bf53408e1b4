// SPDX-License-Identifier: Apache-2.0
// The shared memory of a QEMU that a guest has taken over: any cursors, records and pieces. What is
// sealed all the same is what a backup takes.
#include "bits/errors.h"
#include "bits/frame.h"
#include "fuzz.h"
#include "ring/fill.h"
#include "ring/seal.h"
#include "ring/shm.h"
#include "ring/state_ring.h"

namespace exitlog {

namespace {

constexpr uint64_t kSlots = 16;
constexpr uint64_t kDataBytes = 4096;
constexpr uint64_t kStateBytes = 4096;

struct exitlog_record recordOf(Input& in, uint64_t dataAt, Position& at) {
  struct exitlog_record record {};
  const uint8_t mode = in.byte();
  at.icount += in.upTo(2);
  record.icount = (mode & 3) == 3 ? in.edge(at.icount) : at.icount;
  record.vtime_ns = static_cast<int64_t>((mode & 12) == 12 ? in.edge(0) : 0);
  record.kind = static_cast<uint16_t>((mode & 48) == 48 ? in.number(2) : in.upTo(20));
  record.channel = static_cast<uint16_t>(in.upTo(2));
  record.len = static_cast<uint32_t>((mode & 64) != 0 ? in.edge(64) : in.upTo(64));
  record.arg = (mode & 128) != 0 ? in.edge(dataAt) : dataAt;
  return record;
}

void putRecords(Input& in, const Shm& shm, Position& at) {
  const Shm::Ring& out = shm.out();
  uint64_t head = out.cursors->head;
  uint64_t dataHead = out.cursors->data_head;
  for (uint64_t count = in.upTo(6); count > 0; count--) {
    const struct exitlog_record record = recordOf(in, dataHead, at);
    if (kindHasPayload(record.kind)) dataHead += paddedTo8(record.len);
    out.copyRecordsIn(head++, 1, &record);
  }
  const uint8_t mode = in.byte();
  out.cursors->head = (mode & 15) == 1 ? in.edge(head) : head;
  out.cursors->data_head = (mode & 240) == 16 ? in.edge(dataHead) : dataHead;
}

void sealAll(Input& in, const Shm& shm, Sealer& sealer, const Shm& backups, Filler& filler,
             uint64_t& sequence) {
  sealer.waiting();
  sealer.isHalfFull();
  const Exact into(std::vector<uint8_t>(64 << 10));
  const uint64_t room = in.byte() == 1 ? in.upTo(into.size()) : into.size();
  const uint64_t bytes = sealer.seal(const_cast<uint8_t*>(into.data()), room,
                                     {1, 2, 3, sequence, 5, 6, in.flip()});
  if (bytes == 0) return;
  must(bytes <= room);
  sequence++;
  for (size_t port = 0; port < EXITLOG_CONSOLES; port++) sealer.takePrinted(port);
  must(shm.out().cursors->tail == sealer.last().recordEnd);
  // A replay takes it at once, so that there is room. What is sealed is never refused.
  try {
    must(filler.fill(into.data(), bytes));
  } catch (const CorruptError&) {
    abort();
  }
  storeRelease(backups.in().cursors->tail, loadRelaxed(backups.in().cursors->head));
  storeRelease(backups.in().cursors->data_tail, loadRelaxed(backups.in().cursors->data_head));
}

void putState(Input& in, const Shm& shm) {
  struct exitlog_stream& cursors = shm.header()->epoch_state;
  const auto flags = static_cast<uint32_t>(in.byte() == 1 ? in.number(4) : in.upTo(1));
  const struct exitlog_piece piece {static_cast<uint32_t>(in.upTo(20)), flags, in.edge(0),
                                    in.byte() == 1 ? in.edge(512) : in.upTo(512), in.upTo(2)};
  const auto* bytes = reinterpret_cast<const uint8_t*>(&piece);
  auto* data = const_cast<uint8_t*>(shm.state().data);
  for (uint64_t i = 0; i < sizeof piece; i++) {
    data[(cursors.head + i) & (kStateBytes - 1)] = bytes[i];
  }
  const uint64_t data8 = (flags & EXITLOG_PIECE_DATA) != 0 ? paddedTo8(piece.bytes) : 0;
  const uint64_t head = cursors.head + sizeof piece + data8;
  cursors.head = in.byte() == 1 ? in.edge(head) : head;
}

void takeState(const Shm& shm, StateRing& ring) {
  stateIsFull(shm);
  StateRing::Piece piece;
  for (int i = 0; i < 4 && ring.peek(piece); i++) {
    if (piece.data != nullptr) touch(piece.data, piece.head.bytes);
    ring.pop();
  }
}

void run(Input& in) {
  const Shm shm(kSlots, kDataBytes, kStateBytes);
  const Shm backups(kSlots, kDataBytes);
  Sealer sealer(shm);
  Filler filler(backups);
  StateRing state(shm);
  Position at{0, 0};
  uint64_t sequence = 0;
  if (in.byte() == 1) {
    // No log is so long that its numbers come to their end.
    const uint64_t base = in.edge(0) >> 1;
    const uint64_t data = in.edge(0) >> 1 & ~uint64_t{7};
    shm.out().cursors->head = shm.out().cursors->tail = base;
    shm.out().cursors->data_head = shm.out().cursors->data_tail = data;
    if (base != 0 || data != 0) filler.startAt(base, data);
    sealer.continueFrom({0, base, data, 0, {}, {}});
  }
  try {
    while (!in.isEmpty()) {
      switch (in.byte() % 6) {
        case 0:
        case 1: putRecords(in, shm, at); break;
        case 2: sealAll(in, shm, sealer, backups, filler, sequence); break;
        case 3:
          shm.header()->horizon_icount = in.byte() == 1 ? in.edge(at.icount) : at.icount;
          shm.header()->horizon_vtime_ns = static_cast<int64_t>(in.edge(0));
          break;
        case 4: putState(in, shm); break;
        default: takeState(shm, state);
      }
      if (in.byte() == 255) shm.header()->out_held = in.edge(shm.out().cursors->head);
    }
  } catch (const RingError&) {
  } catch (const RangeFault&) {
  }
}

}  // namespace

void fuzz(Input& in) {
  onlyPeerErrors([&] { run(in); });
}

}  // namespace exitlog
