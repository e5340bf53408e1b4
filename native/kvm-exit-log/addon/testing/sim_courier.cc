// SPDX-License-Identifier: Apache-2.0
#include "testing/sim_courier.h"

#include <cerrno>

#include "bits/result.h"
#include "options.h"
#include "receive/replay_follower.h"
#include "ring/exit_ring.h"

namespace exitlog {

namespace {

Napi::Value bufferOf(Napi::Env env, const uint8_t* bytes, size_t count) {
  return Napi::Buffer<uint8_t>::Copy(env, bytes, count);
}

}  // namespace

Napi::Function SimCourier::define(Napi::Env env) {
  return DefineClass(env, "SimCourier",
                     {InstanceMethod<&SimCourier::atTime>("atTime"),
                      InstanceMethod<&SimCourier::ship>("ship"),
                      InstanceMethod<&SimCourier::receive>("receive"),
                      InstanceMethod<&SimCourier::attach>("attach"),
                      InstanceMethod<&SimCourier::leave>("leave"),
                      InstanceMethod<&SimCourier::take>("take"),
                      InstanceMethod<&SimCourier::stepReceiver>("stepReceiver"),
                      InstanceMethod<&SimCourier::stepShipper>("stepShipper"),
                      InstanceMethod<&SimCourier::unwritten>("unwritten"),
                      InstanceMethod<&SimCourier::written>("written"),
                      InstanceMethod<&SimCourier::sent>("sent"),
                      InstanceMethod<&SimCourier::events>("events"),
                      InstanceMethod<&SimCourier::command>("command"),
                      InstanceMethod<&SimCourier::detach>("detach"),
                      InstanceMethod<&SimCourier::protect>("protect"),
                      InstanceMethod<&SimCourier::facts>("facts"),
                      InstanceMethod<&SimCourier::destroy>("destroy")});
}

SimCourier::SimCourier(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SimCourier>(info) {
  ExitRing* ring = ExitRing::unwrap(info, info[0]);
  guard(info.Env(), [&] { core_ = ring->takeForCourier(info); });
}

// atTime(ns): since the simulation's beginning, for both clocks
void SimCourier::atTime(const Napi::CallbackInfo& info) {
  clock_.monotonic = clock_.realtime = argInteger(info, info[0], "ns", 0, 1ull << 53);
}

// ship(options): as a courier's, but for a log of its own, which is any object
void SimCourier::ship(const Napi::CallbackInfo& info) {
  guard(info.Env(), [&] {
    const Options given(info, info[0], "options");
    ShipOptions options = shipOptions(info, given);
    std::unique_ptr<Log> log;
    if (given.get("log").IsString()) {
      const LogEnd end = receiver_->end();
      core_->sealer.continueFrom(end);
      options.continues(end);
      log = receiver_->handOver();
    } else if (!given.get("log").IsNull()) {
      log = std::make_unique<MemoryLog>();
    }
    shipper_ = std::make_unique<Shipper>(core_->shm, core_->sealer, core_->bound, clock_, events_,
                                         options, std::move(log));
    if (hasOutlet_) peer_ = shipper_->peerArrived(&outlet_, nullptr);
  });
}

// receive(options)
void SimCourier::receive(const Napi::CallbackInfo& info) {
  guard(info.Env(), [&] {
    const ReceiveOptions options = receiveOptions(info, Options(info, info[0], "options"));
    receiver_ = std::make_unique<Receiver>(
        std::make_unique<ReplayFollower>(core_->shm, core_->filler), clock_, events_, options,
        std::make_unique<MemoryLog>());
    if (hasOutlet_) receiver_->peerArrived();
  });
}

// attach(from?): another connection is there
void SimCourier::attach(const Napi::CallbackInfo& info) {
  guard(info.Env(), [&] {
    outlet_.take();
    hasOutlet_ = true;
    if (shipper_) {
      ShipFrom from{};
      const bool catchesUp = !info[0].IsUndefined();
      if (catchesUp) from = shipFrom(Options(info, info[0], "from"));
      peer_ = shipper_->peerArrived(&outlet_, catchesUp ? &from : nullptr);
    }
    if (receiver_) receiver_->peerArrived();
  });
}

// leave(): the connection is over
void SimCourier::leave(const Napi::CallbackInfo&) {
  hasOutlet_ = false;
  if (peer_ != nullptr) peer_->leave();
}

// take(frame): false if it is neither a batch nor an ack for us. Throws what ends the
// connection: code is peer-lost or peer-protocol.
Napi::Value SimCourier::take(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Bytes frame = argBytes(info, info[0], "frame");
    FramePrefix prefix;
    memcpy(&prefix, frame.data, sizeof prefix);
    bool isOurs = true;
    if (prefix.type == kFrameBatch && receiver_) {
      round_.emplace_back(frame.data, frame.data + frame.length);
      receiver_->take(round_.back().data(), frame.length);
    } else if (prefix.type == kFrameAck && peer_ != nullptr) {
      shipper_->ackArrived(*peer_, frame.data, frame.length);
    } else {
      isOurs = false;
    }
    return Napi::Boolean::New(info.Env(), isOurs);
  });
}

// stepReceiver(): -1: `unwritten` is to be written; else when to look again, ns
Napi::Value SimCourier::stepReceiver(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    double look = static_cast<double>(kNever);
    Outlet* outlet = hasOutlet_ ? &outlet_ : nullptr;
    if (receiver_ && receiver_->next(outlet) == Receiver::Step::write) {
      look = -1;
    } else if (receiver_) {
      round_.clear();
      look = static_cast<double>(receiver_->pump(outlet));
    }
    return Napi::Number::New(info.Env(), look);
  });
}

// stepShipper(): as stepReceiver; what is to be read is read here. Throws as `take` does.
Napi::Value SimCourier::stepShipper(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    double look = static_cast<double>(kNever);
    while (shipper_) {
      const Shipper::Step step = shipper_->next();
      if (step.kind == Shipper::Step::Kind::read) {
        const Shipper::Read read = shipper_->reading();
        Backlog::Piece piece;
        std::string why;
        const bool isRead = read.backlog->read(read.sequence, read.end, piece, why);
        shipper_->wasRead(*read.backlog, isRead, piece, why);
        continue;
      }
      const bool writes = step.kind == Shipper::Step::Kind::write;
      look = writes ? -1 : static_cast<double>(step.lookAtNs);
      break;
    }
    return Napi::Number::New(info.Env(), look);
  });
}

// unwritten(side): the bytes that its step has for the log; side 0 ships, 1 receives
Napi::Value SimCourier::unwritten(const Napi::CallbackInfo& info) {
  if (argInteger(info, info[0], "side", 0, 1) == 0) {
    const Shipper::Batch batch = shipper_->batch();
    return bufferOf(info.Env(), batch.bytes, batch.count);
  }
  const Receiver::Batches batches = receiver_->batches();
  return bufferOf(info.Env(), batches.bytes, batches.count);
}

// written(side, fault?): they are in the log, or it failed
void SimCourier::written(const Napi::CallbackInfo& info) {
  const bool ships = argInteger(info, info[0], "side", 0, 1) == 0;
  WriteFault fault{ENOSPC, "write of the simulated log"};
  const bool failed = info[1].IsString();
  if (failed) fault.what = info[1].As<Napi::String>().Utf8Value();
  if (ships) {
    const Shipper::Batch batch = shipper_->batch();
    WriteFault none{};
    if (!failed) shipper_->log->append(batch.bytes, batch.count, none);
    shipper_->written(failed ? &fault : nullptr);
  } else {
    receiver_->written(failed ? &fault : nullptr);
  }
}

// sent(): bytes for the peer; null: none
Napi::Value SimCourier::sent(const Napi::CallbackInfo& info) {
  const std::vector<uint8_t> bytes = outlet_.take();
  if (bytes.empty()) return info.Env().Null();
  return bufferOf(info.Env(), bytes.data(), bytes.size());
}

// events(): null, or each as [kind's number, text, more, bytes]
Napi::Value SimCourier::events(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::vector<Event> events = events_.take();
  if (events.empty()) return env.Null();
  Napi::Array all = Napi::Array::New(env, events.size());
  for (uint32_t i = 0; i < events.size(); i++) {
    const Event& event = events[i];
    Napi::Array one = Napi::Array::New(env, 4);
    one.Set(0u, Napi::Number::New(env, static_cast<uint32_t>(event.kind)));
    one.Set(1u, Napi::String::New(env, event.text));
    one.Set(2u, Napi::String::New(env, event.more));
    one.Set(3u, bufferOf(env, event.bytes.data(), event.bytes.size()));
    all.Set(i, one);
  }
  return all;
}

// command(name)
void SimCourier::command(const Napi::CallbackInfo& info) {
  const std::string name = argString(info, 0, "name");
  if (name == "closeReceive" && receiver_) receiver_->close();
  if (!shipper_) return;
  if (name == "flush") shipper_->flush();
  if (name == "stopSealing") shipper_->stop();
  if (name == "closeGate") shipper_->gate.close();
  if (name == "reopenGate") shipper_->gate.reopen();
}

// detach(term)
void SimCourier::detach(const Napi::CallbackInfo& info) {
  const uint64_t term = argInteger(info, info[0], "term", 0, UINT32_MAX);
  guard(info.Env(), [&] {
    if (shipper_) shipper_->detach(static_cast<uint32_t>(term));
  });
}

void SimCourier::protect(const Napi::CallbackInfo& info) {
  guard(info.Env(), [&] { shipper_->protect(); });
}

// facts(into), as a courier's
Napi::Value SimCourier::facts(const Napi::CallbackInfo& info) {
  Facts facts;
  if (shipper_) shipper_->tell(facts);
  if (receiver_) receiver_->tell(facts);
  memcpy(info[0].As<Napi::BigUint64Array>().Data(), &facts, sizeof facts);
  if (shipper_) return Napi::BigInt::New(info.Env(), shipper_->prevChecksum());
  return info.Env().Undefined();
}

// destroy(): its memory is given back; of what it knows there are the facts' zeros left
void SimCourier::destroy(const Napi::CallbackInfo&) {
  peer_ = nullptr;
  shipper_.reset();
  receiver_.reset();
  round_.clear();
  core_.reset();
}

}  // namespace exitlog
