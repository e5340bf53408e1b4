// SPDX-License-Identifier: Apache-2.0
#include "testing/testing.h"

#include <cstring>

#include "bits/args.h"
#include "bits/result.h"
#include "ring/exit_ring.h"
#include "testing/epochs.h"
#include "testing/guest.h"
#include "testing/journal.h"
#include "testing/sim_courier.h"
#include "testing/state.h"

namespace exitlog {

namespace {

ExitRing& ringOf(const Napi::CallbackInfo& info) { return *ExitRing::unwrap(info, info[0]); }

SealHeader argSealHeader(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsObject()) badType(info, "header", "an object");
  const auto object = info[index].As<Napi::Object>();
  SealHeader header{};
  const Bytes vmId = argBytes(info, object.Get("vmId"), "header.vmId");
  if (vmId.length != 16) badRange(info, "header.vmId", "16 bytes long");
  memcpy(&header.vmIdLo, vmId.data, 8);
  memcpy(&header.vmIdHi, vmId.data + 8, 8);
  header.term = static_cast<uint32_t>(
      argInteger(info, object.Get("term"), "header.term", 0, UINT32_MAX));
  header.sequence = argU64(info, object.Get("sequence"), "header.sequence");
  header.sealedAtNs = argU64(info, object.Get("sealedAtNs"), "header.sealedAtNs");
  header.prevChecksum = argU64(info, object.Get("prevChecksum"), "header.prevChecksum");
  return header;
}

// seal(ring, into, offset, header)
Napi::Value seal(const Napi::CallbackInfo& info) {
  ExitRing& ring = ringOf(info);
  ring.seen(info);
  return guard(info.Env(), [&]() -> Napi::Value {
    // Header first: its getters could run JavaScript that detaches the buffer.
    const SealHeader header = argSealHeader(info, 3);
    const Bytes into = argSlice(info, 1, "into", false);
    const uint64_t bytes = ring.owned(info).sealer.seal(into.data, into.length, header);
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  });
}

// lastSeal(ring): what that wrote
Napi::Value lastSeal(const Napi::CallbackInfo& info) {
  const SealResult& last = ringOf(info).seen(info).sealer.last();
  return Result(info.Env())
      .number("records", last.records)
      .number("dataBytes", last.dataBytes)
      .u64("firstIcount", last.firstIcount)
      .u64("lastIcount", last.lastIcount)
      .u64("horizonIcount", last.horizon.icount)
      .i64("horizonVtimeNs", last.horizon.vtimeNs)
      .u64("recordEnd", last.recordEnd)
      .number("outputs", last.outputs)
      .number("charOutBytes", last.charOutBytes)
      .boolean("ended", last.ended)
      .u64("checksum", last.checksum)
      .object();
}

// outPending(ring): records in OUT
Napi::Value outPending(const Napi::CallbackInfo& info) {
  const uint64_t pending = ringOf(info).seen(info).sealer.pending();
  return Napi::Number::New(info.Env(), static_cast<double>(pending));
}

// commit(ring, recordEnd)
void commit(const Napi::CallbackInfo& info) {
  ExitRing& ring = ringOf(info);
  ring.seen(info);
  const uint64_t recordEnd = argU64(info, info[1], "recordEnd");
  const Shm& shm = ring.owned(info).shm;
  guard(info.Env(), [&] {
    uint64_t& cell = shm.header()->commit;
    const uint64_t sealed = loadRelaxed(shm.header()->out.tail);
    if (recordEnd < loadRelaxed(cell) || recordEnd > sealed) {
      throw RangeFault(format("commit must be from %llu, the last, to %llu, the records sealed; "
                              "got %llu",
                              static_cast<unsigned long long>(loadRelaxed(cell)),
                              static_cast<unsigned long long>(sealed),
                              static_cast<unsigned long long>(recordEnd)));
    }
    storeRelease(cell, recordEnd);
    shm.wake();
  });
}

}  // namespace

Napi::Object testing(Napi::Env env) {
  Napi::Object door = Napi::Object::New(env);
  door.Set("seal", Napi::Function::New<seal>(env, "seal"));
  door.Set("lastSeal", Napi::Function::New<lastSeal>(env, "lastSeal"));
  door.Set("outPending", Napi::Function::New<outPending>(env, "outPending"));
  door.Set("commit", Napi::Function::New<commit>(env, "commit"));
  door.Set("batchFrameBytesMax", Napi::Number::New(env, static_cast<double>(kBatchFrameBytesMax)));
  door.Set("SimCourier", SimCourier::define(env));
  door.Set("Epochs", defineEpochs(env));
  door.Set("Journal", defineJournal(env));
  door.Set("putPieces", Napi::Function::New<putPieces>(env, "putPieces"));
  addGuest(env, door);
  addState(env, door);
  return door;
}

}  // namespace exitlog
