// SPDX-License-Identifier: Apache-2.0
#include "testing/guest.h"

#include "bits/args.h"
#include "bits/layout.h"
#include "ring/exit_ring.h"

namespace exitlog {

namespace {

const Shm& shmOf(const Napi::CallbackInfo& info) {
  return ExitRing::unwrap(info, info[0])->seen(info).shm;
}

// guestPut(ring, kind, icount, len, arg, payload?, channel?): a record into OUT, at this position, with
// virtual time twice the icount; its ordinal, or -1 without room
Napi::Value guestPut(const Napi::CallbackInfo& info) {
  const Shm& shm = shmOf(info);
  const Shm::Ring& out = shm.out();
  struct exitlog_record record {};
  record.kind = static_cast<uint16_t>(argInteger(info, info[1], "kind", 0, UINT16_MAX));
  record.icount = argU64(info, info[2], "icount");
  record.vtime_ns = static_cast<int64_t>(record.icount * 2);
  record.len = static_cast<uint32_t>(argInteger(info, info[3], "len", 0, UINT32_MAX));
  record.arg = argU64(info, info[4], "arg");
  Bytes payload{nullptr, 0};
  if (!info[5].IsUndefined()) payload = argBytes(info, info[5], "payload");
  if (!info[6].IsUndefined()) {
    record.channel = static_cast<uint16_t>(argInteger(info, info[6], "channel", 0, UINT16_MAX));
  }
  const uint64_t head = loadRelaxed(out.cursors->head);
  const uint64_t dataHead = loadRelaxed(out.cursors->data_head);
  const bool full = head - loadAcquire(out.cursors->tail) >= out.slots ||
                    dataHead + paddedTo8(payload.length) - loadAcquire(out.cursors->data_tail) >
                        out.dataBytes;
  if (full) return Napi::Number::New(info.Env(), -1);
  if (payload.length > 0) {
    record.arg = dataHead;
    record.len = static_cast<uint32_t>(payload.length);
    out.copyDataIn(dataHead, payload.length, payload.data);
    storeRelease(out.cursors->data_head, dataHead + paddedTo8(payload.length));
  }
  out.copyRecordsIn(head, 1, &record);
  storeRelease(out.cursors->head, head + 1);
  return Napi::Number::New(info.Env(), static_cast<double>(head));
}

// guestSays(ring, words): state, end reason, icount, outputs, outputs released, visits; a
// live one has no record before that icount that is not in OUT
void guestSays(const Napi::CallbackInfo& info) {
  struct exitlog_shm* shm = shmOf(info).header();
  const uint64_t* words = argWords(info, info[1], "words", 6);
  const auto state = static_cast<uint32_t>(words[0]);
  const auto vtimeNs = static_cast<int64_t>(words[2] * 2);
  storeRelaxed(shm->end_reason, static_cast<uint32_t>(words[1]));
  storeRelaxed(shm->icount, words[2]);
  storeRelaxed(shm->vtime_ns, vtimeNs);
  storeRelaxed(shm->outputs, words[3]);
  storeRelaxed(shm->outputs_released, words[4]);
  storeRelaxed(shm->visits, words[5]);
  storeRelaxed(shm->heartbeat, loadRelaxed(shm->heartbeat) + 1);
  storeRelease(shm->state, state);
  if (state != EXITLOG_STATE_RECORDING) return;
  const auto sequence = loadRelaxed(shm->horizon_seq);
  storeRelaxed(shm->horizon_seq, sequence + 1);
  fullFence();
  storeRelaxed(shm->horizon_icount, words[2]);
  storeRelaxed(shm->horizon_vtime_ns, vtimeNs);
  storeRelease(shm->horizon_seq, sequence + 2);
}

// guestGoesLive(ring): OUT continues IN
void guestGoesLive(const Napi::CallbackInfo& info) {
  const Shm& shm = shmOf(info);
  const struct exitlog_ring* in = shm.in().cursors;
  struct exitlog_ring* out = shm.out().cursors;
  storeRelaxed(out->data_head, loadRelaxed(in->data_tail));
  storeRelaxed(out->head, loadRelaxed(in->tail));
  storeRelaxed(out->data_tail, loadRelaxed(in->data_tail));
  storeRelaxed(out->tail, loadRelaxed(in->tail));
}

// guestTake(ring, icount): records of IN up to there, each as [ordinal, kind, icount]
Napi::Value guestTake(const Napi::CallbackInfo& info) {
  const Shm::Ring& in = shmOf(info).in();
  const uint64_t until = argU64(info, info[1], "icount");
  Napi::Array taken = Napi::Array::New(info.Env());
  uint64_t tail = loadRelaxed(in.cursors->tail);
  uint64_t dataTail = loadRelaxed(in.cursors->data_tail);
  uint32_t count = 0;
  for (; tail != loadAcquire(in.cursors->head); tail++) {
    struct exitlog_record record;
    in.copyRecordsOut(tail, 1, &record);
    if (record.icount > until) break;
    if (kindHasPayload(record.kind)) dataTail += paddedTo8(record.len);
    Napi::Array one = Napi::Array::New(info.Env(), 3);
    one.Set(0u, Napi::BigInt::New(info.Env(), tail));
    one.Set(1u, Napi::Number::New(info.Env(), record.kind));
    one.Set(2u, Napi::BigInt::New(info.Env(), record.icount));
    taken.Set(count++, one);
  }
  storeRelease(in.cursors->data_tail, dataTail);
  storeRelease(in.cursors->tail, tail);
  return taken;
}

// guestSees(ring, words): what the daemon has put there for it: IN's horizon, head and tail,
// OUT's head and next byte, outputs sent, commit, bound of the icount, control
void guestSees(const Napi::CallbackInfo& info) {
  const Shm& shm = shmOf(info);
  const struct exitlog_shm* header = shm.header();
  uint64_t* words = argWords(info, info[1], "words", 9);
  words[0] = loadRelaxed(header->in_horizon_icount);
  words[1] = loadAcquire(shm.in().cursors->head);
  words[2] = loadRelaxed(shm.in().cursors->tail);
  words[3] = loadRelaxed(shm.out().cursors->head);
  words[4] = loadRelaxed(shm.out().cursors->data_head);
  words[5] = loadRelaxed(header->outputs_sent);
  words[6] = loadRelaxed(header->commit);
  words[7] = loadRelaxed(header->icount_max);
  words[8] = loadRelaxed(header->control);
}

}  // namespace

void addGuest(Napi::Env env, Napi::Object door) {
  door.Set("guestPut", Napi::Function::New<guestPut>(env, "guestPut"));
  door.Set("guestTake", Napi::Function::New<guestTake>(env, "guestTake"));
  door.Set("guestGoesLive", Napi::Function::New<guestGoesLive>(env, "guestGoesLive"));
  door.Set("guestSays", Napi::Function::New<guestSays>(env, "guestSays"));
  door.Set("guestSees", Napi::Function::New<guestSees>(env, "guestSees"));
}

}  // namespace exitlog
