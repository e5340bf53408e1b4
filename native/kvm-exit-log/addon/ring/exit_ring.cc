// SPDX-License-Identifier: Apache-2.0
#include "ring/exit_ring.h"

#include "bits/args.h"
#include "bits/result.h"
#include "ring/state_ring.h"

namespace exitlog {

namespace {

constexpr uint64_t kSlotsMin = 2;
constexpr uint64_t kSlotsMax = 1u << 24;
constexpr uint64_t kDataMin = 4096;
constexpr uint64_t kDataMax = 1u << 30;
constexpr uint32_t kControlKnown =
    EXITLOG_CTL_GO_LIVE | EXITLOG_CTL_DETACHED | EXITLOG_CTL_STOP;
constexpr uint32_t kControlCleared = EXITLOG_CTL_DETACHED;

uint64_t argPowerOfTwo(const Napi::CallbackInfo& info, size_t index, const char* name,
                       uint64_t min, uint64_t max) {
  const uint64_t value = argInteger(info, info[index], name, min, max);
  if ((value & (value - 1)) != 0) badRange(info, name, "a power of two");
  return value;
}

// One more is wanted; how many that makes.
Napi::Value request(Napi::Env env, const Shm& shm, uint64_t& wanted) {
  const uint64_t count = __atomic_add_fetch(&wanted, uint64_t{1}, __ATOMIC_SEQ_CST);
  shm.wake();
  return Napi::BigInt::New(env, count);
}

}  // namespace

Napi::Function ExitRing::define(Napi::Env env) {
  return DefineClass(env, "ExitRing",
                     {InstanceMethod<&ExitRing::descriptors>("descriptors"),
                      InstanceMethod<&ExitRing::onNotify>("onNotify"),
                      InstanceMethod<&ExitRing::fill>("fill"),
                      InstanceMethod<&ExitRing::startAt>("startAt"),
                      InstanceMethod<&ExitRing::hear>("hear"),
                      InstanceMethod<&ExitRing::command>("command"),
                      InstanceMethod<&ExitRing::control>("control"),
                      InstanceMethod<&ExitRing::clearControl>("clearControl"),
                      InstanceMethod<&ExitRing::requestDiskMark>("requestDiskMark"),
                      InstanceMethod<&ExitRing::requestCheckpoint>("requestCheckpoint"),
                      InstanceMethod<&ExitRing::requestFullCheckpoint>("requestFullCheckpoint"),
                      InstanceMethod<&ExitRing::setIcountMax>("setIcountMax"),
                      InstanceMethod<&ExitRing::status>("status"),
                      InstanceMethod<&ExitRing::place>("place"),
                      InstanceMethod<&ExitRing::events>("events"),
                      InstanceMethod<&ExitRing::setEpochs>("setEpochs"),
                      InstanceMethod<&ExitRing::beginEpochs>("beginEpochs"),
                      InstanceMethod<&ExitRing::setEnded>("setEnded"),
                      InstanceMethod<&ExitRing::destroy>("destroy")});
}

ExitRing::ExitRing(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ExitRing>(info) {
  guard(info.Env(), [&] {
    const uint64_t slots = argPowerOfTwo(info, 0, "recordSlots", kSlotsMin, kSlotsMax);
    const uint64_t data = argPowerOfTwo(info, 1, "dataBytes", kDataMin, kDataMax);
    const bool hasState = !info[2].IsUndefined() &&
                          argInteger(info, info[2], "stateBytes", 0, kDataMax) > 0;
    const uint64_t state = hasState ? argPowerOfTwo(info, 2, "stateBytes", kDataMin, kDataMax) : 0;
    core_ = std::make_shared<RingCore>(slots, data, state);
  });
}

ExitRing::~ExitRing() { release(); }

void ExitRing::release() {
  if (notify_ != nullptr) notify_->stop();
  if (core_ && core_->stopCourier) core_->stopCourier();
  core_.reset();
}

ExitRing* ExitRing::unwrap(const Napi::CallbackInfo& info, const Napi::Value& value) {
  napi_value constructor;
  bool is = false;
  const auto* data = info.Env().GetInstanceData<Napi::FunctionReference>();
  constructor = data->Value();
  if (!value.IsObject() || napi_instanceof(info.Env(), value, constructor, &is) != napi_ok || !is) {
    badType(info, "ring", "an ExitRing");
  }
  return Napi::ObjectWrap<ExitRing>::Unwrap(value.As<Napi::Object>());
}

std::shared_ptr<RingCore> ExitRing::takeForCourier(const Napi::CallbackInfo& info) {
  live(info);
  own(info);
  if (notify_ != nullptr) {
    throw RingError("ERR_RING_STATE", "somebody listens to this ring already");
  }
  return core_;
}

void ExitRing::own(const Napi::CallbackInfo& info) const {
  if (core_->stopCourier) {
    throw withCode(info.Env(), Napi::Error::New(info.Env(), "a courier works on this ring"),
                   "ERR_RING_STATE");
  }
}

RingCore& ExitRing::owned(const Napi::CallbackInfo& info) const {
  live(info);
  own(info);
  return *core_;
}

RingCore& ExitRing::seen(const Napi::CallbackInfo& info) const {
  live(info);
  return *core_;
}

const Shm& ExitRing::live(const Napi::CallbackInfo& info) const {
  if (!core_) {
    throw withCode(info.Env(), Napi::Error::New(info.Env(), "the ring is destroyed"),
                   "ERR_RING_DESTROYED");
  }
  return core_->shm;
}

Napi::Value ExitRing::descriptors(const Napi::CallbackInfo& info) {
  const Shm& shm = live(info);
  return Result(info.Env())
      .number("shmFd", shm.shmFd())
      .number("notifyFd", shm.notifyFd())
      .number("wakeFd", shm.wakeFd())
      .object();
}

void ExitRing::onNotify(const Napi::CallbackInfo& info) {
  const Shm& shm = live(info);
  if (!info[0].IsFunction()) badType(info, "callback", "a function");
  own(info);
  auto callback = info[0].As<Napi::Function>();
  if (notify_ != nullptr) {
    notify_->setCallback(callback, info.This().As<Napi::Object>());
  } else {
    notify_ = Notify::start(info.Env(), shm, callback, info.This().As<Napi::Object>(), &notify_);
  }
}

Napi::Value ExitRing::fill(const Napi::CallbackInfo& info) {
  live(info);
  own(info);
  return guard(info.Env(), [&]() -> Napi::Value {
    const Bytes frame = argSlice(info, 0, "frame", true);
    return Napi::Boolean::New(info.Env(), core_->filler.fill(frame.data, frame.length));
  });
}

void ExitRing::startAt(const Napi::CallbackInfo& info) {
  live(info);
  const uint64_t record = argU64(info, info[0], "record");
  const uint64_t dataOffset = argU64(info, info[1], "dataOffset");
  own(info);
  guard(info.Env(), [&] { core_->filler.startAt(record, dataOffset); });
}

// hear(icount, vtimeNs)
void ExitRing::hear(const Napi::CallbackInfo& info) {
  live(info);
  const uint64_t icount = argU64(info, info[0], "icount");
  const uint64_t vtimeNs = argU64(info, info[1], "vtimeNs");
  own(info);
  core_->filler.hear(Position{icount, static_cast<int64_t>(vtimeNs)});
}

Napi::Value ExitRing::command(const Napi::CallbackInfo& info) {
  const Shm& shm = live(info);
  return guard(info.Env(), [&]() -> Napi::Value {
    const auto kind = static_cast<uint16_t>(argInteger(info, info[0], "kind", 0, UINT16_MAX));
    const auto channel =
        static_cast<uint16_t>(argInteger(info, info[1], "channel", 0, UINT16_MAX));
    Bytes payload{nullptr, 0};
    if (kind == EXITLOG_CHAR_IN) {
      payload = argBytes(info, info[2], "payload");
      if (payload.length > kBatchDataBytesMax) badRange(info, "payload", "at most 1 MiB");
    } else if (kind == EXITLOG_POWERDOWN || kind == EXITLOG_RESET) {
      if (!info[2].IsUndefined()) badType(info, "payload", "absent for this kind");
    } else {
      badRange(info, "kind", "CHAR_IN, POWERDOWN or RESET");
    }
    const uint32_t state = loadAcquire(shm.header()->state);
    if (state == EXITLOG_STATE_REPLAYING || state == EXITLOG_STATE_WAITING) {
      throw RingError("ERR_RING_STATE",
                      "a replaying VM takes its inputs from the log only, not from commands");
    }
    return Napi::Boolean::New(info.Env(),
                              core_->filler.command(kind, channel, payload.data,
                                               static_cast<uint32_t>(payload.length)));
  });
}

void ExitRing::control(const Napi::CallbackInfo& info) {
  const Shm& shm = live(info);
  const auto flag = static_cast<uint32_t>(argInteger(info, info[0], "flag", 1, UINT32_MAX));
  if ((flag & ~kControlKnown) != 0) badRange(info, "flag", "one or more of CONTROL");
  __atomic_fetch_or(&shm.header()->control, flag, __ATOMIC_SEQ_CST);
  shm.wake();
}

void ExitRing::clearControl(const Napi::CallbackInfo& info) {
  const Shm& shm = live(info);
  const auto flag = static_cast<uint32_t>(argInteger(info, info[0], "flag", 1, UINT32_MAX));
  if ((flag & ~kControlCleared) != 0) badRange(info, "flag", "CONTROL.DETACHED");
  __atomic_fetch_and(&shm.header()->control, ~flag, __ATOMIC_SEQ_CST);
  shm.wake();
}

Napi::Value ExitRing::requestDiskMark(const Napi::CallbackInfo& info) {
  return request(info.Env(), live(info), live(info).header()->disk_marks_wanted);
}

Napi::Value ExitRing::requestCheckpoint(const Napi::CallbackInfo& info) {
  return request(info.Env(), live(info), live(info).header()->checkpoints_wanted);
}

void ExitRing::requestFullCheckpoint(const Napi::CallbackInfo& info) {
  request(info.Env(), live(info), live(info).header()->full_checkpoints_wanted);
}

void ExitRing::setIcountMax(const Napi::CallbackInfo& info) {
  live(info);
  core_->bound.setHeld(argU64(info, info[0], "icount"));
}

namespace {

// What so many of a hundred cuts took at most; 0: there was none.
uint64_t pauseNs(const struct exitlog_shm& shm, unsigned percent) {
  uint64_t counts[EXITLOG_PAUSES];
  uint64_t all = 0;
  for (unsigned kind = 0; kind < EXITLOG_PAUSES; kind++) {
    counts[kind] = loadRelaxed(shm.epoch_pauses[kind]);
    all += counts[kind];
  }
  uint64_t wanted = (all * percent + 99) / 100;
  for (unsigned kind = 0; wanted > 0 && kind < EXITLOG_PAUSES; kind++) {
    if (wanted <= counts[kind]) return exitlog_pause_ns(kind);
    wanted -= counts[kind];
  }
  return 0;
}

}  // namespace

Napi::Value ExitRing::status(const Napi::CallbackInfo& info) {
  const struct exitlog_shm* shm = live(info).header();
  const uint32_t state = loadAcquire(shm->state);
  // Before what QEMU published before it.
  const uint64_t checkpointsAnswered = loadAcquire(shm->checkpoints_answered);
  // QEMU may die while it writes it, so nothing says that there is a NUL.
  const std::string error(shm->error, strnlen(shm->error, EXITLOG_ERROR_BYTES));
  return Result(info.Env())
      .number("state", state)
      .number("endReason", loadRelaxed(shm->end_reason))
      .u64("icount", loadRelaxed(shm->icount))
      .i64("vtimeNs", loadRelaxed(shm->vtime_ns))
      .u64("heartbeat", loadRelaxed(shm->heartbeat))
      .u64("visits", loadRelaxed(shm->visits))
      .u64("injected", loadRelaxed(shm->injected))
      .u64("outputs", loadRelaxed(shm->outputs))
      .u64("outputsReleased", loadRelaxed(shm->outputs_released))
      .u64("netInDropped", loadRelaxed(shm->net_in_dropped))
      .u64("idleNs", loadRelaxed(shm->idle_ns))
      .u64("waitNs", loadRelaxed(shm->wait_ns))
      .u64("liveAtNs", loadRelaxed(shm->live_at_ns))
      .i64("clockBehindNs", loadRelaxed(shm->clock_behind_ns))
      .u64("checkpoints", loadRelaxed(shm->checkpoints))
      .u64("checkpointFailures", loadRelaxed(shm->checkpoint_failures))
      .u64("checkpointIcount", loadRelaxed(shm->checkpoint_icount))
      .u64("checkpointsAnswered", checkpointsAnswered)
      .boolean("fullCheckpointDue", loadRelaxed(shm->full_checkpoints_begun) !=
                                        loadRelaxed(shm->full_checkpoints_wanted))
      .u64("diskMarksDone", loadAcquire(shm->disk_marks_done))
      .u64("epochs", loadRelaxed(shm->epochs))
      .u64("epochStarts", loadRelaxed(shm->epoch_starts))
      .u64("epochPages", loadRelaxed(shm->epoch_pages))
      .u64("epochPauseNs", loadRelaxed(shm->epoch_pause_ns))
      .u64("epochPauseNsMax", loadRelaxed(shm->epoch_pause_ns_max))
      .boolean("stateIsFull", exitlog::stateIsFull(live(info)))
      .u64("epochPauseNsP99", pauseNs(*shm, 99))
      .u64("epochReferences", loadRelaxed(shm->epoch_references))
      .u64("epochVersions", loadRelaxed(shm->epoch_versions))
      .u64("commit", loadRelaxed(shm->commit))
      .u64("icountMax", loadRelaxed(shm->icount_max))
      .number("control", loadRelaxed(shm->control))
      .boolean("daemonWanted", loadRelaxed(shm->daemon_wanted) != 0)
      .number("inPending", static_cast<double>(core_->filler.pending()))
      .number("outPending", static_cast<double>(core_->sealer.pending()))
      .text("error", error)
      .object();
}

// place(into): icount, vtime_ns and visits, of status(), for who asks all the time
void ExitRing::place(const Napi::CallbackInfo& info) {
  const struct exitlog_shm* shm = live(info).header();
  uint64_t* into = argWords(info, info[0], "into", 3);
  into[0] = loadRelaxed(shm->icount);
  into[1] = static_cast<uint64_t>(loadRelaxed(shm->vtime_ns));
  into[2] = loadRelaxed(shm->visits);
}

// events(into): of each kind what has happened, then of each the cuts for it
void ExitRing::events(const Napi::CallbackInfo& info) {
  const struct exitlog_shm* shm = live(info).header();
  uint64_t* into = argWords(info, info[0], "into", 2 * EXITLOG_EVENT_COUNT);
  for (int i = 0; i < EXITLOG_EVENT_COUNT; i++) {
    into[i] = loadRelaxed(shm->events[i]);
    into[EXITLOG_EVENT_COUNT + i] = loadRelaxed(shm->event_cuts[i]);
  }
}

// setEpochs(ns, packetNs, inFlight, digests, events, ioLog, pagesMax)
void ExitRing::setEpochs(const Napi::CallbackInfo& info) {
  struct exitlog_shm* shm = live(info).header();
  const uint64_t ns = argU64(info, info[0], "ns");
  storeRelaxed(shm->epoch_packet_ns, argU64(info, info[1], "packetNs"));
  storeRelaxed(shm->epochs_in_flight, argInteger(info, info[2], "inFlight", 0, 63));
  storeRelaxed(shm->epoch_digests, argInteger(info, info[3], "digestEvery", 0, uint64_t{1} << 53));
  storeRelaxed(shm->epoch_events,
               argInteger(info, info[4], "events", 0, (1u << EXITLOG_EVENT_COUNT) - 1));
  storeRelaxed(shm->epoch_io_log, static_cast<uint64_t>(info[5].ToBoolean().Value() ? 1 : 0));
  storeRelaxed(shm->epoch_pages_max, argInteger(info, info[6], "pagesMax", 0, uint64_t{1} << 53));
  storeRelease(shm->epoch_ns, ns);
}

// beginEpochs(): of an image that has nothing yet; returns what `epochStarts` will be
Napi::Value ExitRing::beginEpochs(const Napi::CallbackInfo& info) {
  struct exitlog_shm* shm = live(info).header();
  const uint64_t wanted = loadRelaxed(shm->epoch_starts_wanted) + 1;
  storeRelease(shm->epoch_starts_wanted, wanted);
  return Napi::BigInt::New(info.Env(), wanted);
}

void ExitRing::setEnded(const Napi::CallbackInfo& info) { live(info).setEnded(); }

void ExitRing::destroy(const Napi::CallbackInfo&) { release(); }

}  // namespace exitlog
