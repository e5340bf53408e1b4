// SPDX-License-Identifier: Apache-2.0
#include "quorum_js.h"

#include <utility>

#include "bits/args.h"
#include "bits/result.h"
#include "link/link_js.h"
#include "options.h"
#include "quorum/hello.h"
#include "ring/exit_ring.h"

namespace exitlog {

namespace {

// For a system call in progress.
constexpr uint64_t kStopNs = 1000000000;
constexpr uint64_t kIdMax = 1ull << 53;
constexpr uint64_t kMsMax = 1u << 24;

std::vector<quorum::Member> membersIn(const Napi::CallbackInfo& info, const Napi::Value& value) {
  if (!value.IsArray()) badType(info, "members", "an array");
  const auto given = value.As<Napi::Array>();
  std::vector<quorum::Member> all;
  for (uint32_t i = 0; i < given.Length(); i++) {
    const Options one(info, given[i], "member");
    all.push_back(quorum::Member{one.integer("id"), one.string("address"), true});
  }
  return all;
}

ReplicaHostOptions optionsIn(const Napi::CallbackInfo& info) {
  const Options given(info, info[0], "options");
  ReplicaHostOptions options;
  options.dir = given.string("dir");
  options.replica.log.cluster = given.u64("cluster");
  options.replica.id = given.integer("id");
  options.replica.electionMs = static_cast<unsigned>(given.integer("electionMs", kMsMax));
  options.replica.heartbeatMs = static_cast<unsigned>(given.integer("heartbeatMs", kMsMax));
  options.replica.isDurable = given.boolean("durable");
  options.replica.boot = given.u64("boot");
  options.replica.seed = static_cast<unsigned>(given.integer("seed", UINT32_MAX));
  options.members = membersIn(info, given.get("members"));
  options.executes = given.boolean("executes");
  return options;
}

}  // namespace

Napi::Function JsReplica::define(Napi::Env env) {
  return DefineClass(env, "Replica",
                     {InstanceMethod<&JsReplica::hello>("hello"),
                      InstanceMethod<&JsReplica::attach>("attach"),
                      InstanceMethod<&JsReplica::drop>("drop"),
                      InstanceMethod<&JsReplica::propose>("propose"),
                      InstanceMethod<&JsReplica::transfer>("transfer"),
                      InstanceMethod<&JsReplica::run>("run"),
                      InstanceMethod<&JsReplica::lead>("lead"),
                      InstanceMethod<&JsReplica::flush>("flush"),
                      InstanceMethod<&JsReplica::vmFacts>("vmFacts"),
                      InstanceMethod<&JsReplica::facts>("facts"),
                      InstanceMethod<&JsReplica::destroy>("destroy")});
}

Napi::Array JsReplica::words(Napi::Env env) {
  Napi::Array names = Napi::Array::New(env);
  for (const char* name : kReplicaEventNames) names.Set(names.Length(), name);
  return names;
}

JsReplica::JsReplica(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsReplica>(info) {
  if (!info[1].IsFunction()) badType(info, "callback", "a function");
  ReplicaHostOptions options = optionsIn(info);
  guard(info.Env(), [&] {
    wake_ = JsWake::start(info.Env(), [this] { deliver(); }, [this] { release(); });
    callback_ = JsCallback(info[1].As<Napi::Function>(), info.This().As<Napi::Object>(),
                           "understudy:Replica");
    JsWake* wake = wake_;
    try {
      host_ = std::make_unique<ReplicaHost>(std::move(options), [wake] { wake->send(); });
    } catch (...) {
      release();
      throw;
    }
  });
}

void JsReplica::release() {
  // A thread that never comes back from its disk keeps its host, and not us.
  if (host_ && !host_->stop(kStopNs)) static_cast<void>(host_.release());
  host_.reset();
  if (core_) core_->stopCourier = nullptr;
  core_.reset();
  ring_.Reset();
  callback_.reset();
  if (wake_ != nullptr) std::exchange(wake_, nullptr)->stop();
}

void JsReplica::deliver() {
  const Napi::Env env = Env();
  // cppcheck-suppress nullPointerRedundantCheck
  if (isClosed()) return;
  for (const ReplicaEvent& event : host_->takeEvents()) {
    // By a callback of an earlier one.
    if (isClosed()) return;
    Napi::HandleScope scope(env);
    callback_.call({Napi::Number::New(env, static_cast<uint32_t>(event.kind)),
                    Napi::Number::New(env, static_cast<double>(event.number)),
                    Napi::String::New(env, event.text), Napi::String::New(env, event.more),
                    Napi::Buffer<uint8_t>::Copy(env, event.bytes.data(), event.bytes.size())});
  }
}

ReplicaHost& JsReplica::live(const Napi::CallbackInfo& info) const {
  if (!host_) {
    throw withCode(info.Env(), Napi::Error::New(info.Env(), "the replica is destroyed"),
                   "ERR_RING_DESTROYED");
  }
  return *host_;
}

// hello(to): the frame that begins a connection to that replica
Napi::Value JsReplica::hello(const Napi::CallbackInfo& info) {
  const ReplicaHost& host = live(info);
  const uint64_t to = argInteger(info, info[0], "to", 1, kIdMax);
  const std::vector<uint8_t> frame = replicaHello(host.cluster(), host.id(), to);
  return Napi::Buffer<uint8_t>::Copy(info.Env(), frame.data(), frame.size());
}

// attach(link, hello, answers): a link whose peer has said that, and gets our own if it `answers`.
// Returns who it is. Throws PeerError's; the link is not moved then.
Napi::Value JsReplica::attach(const Napi::CallbackInfo& info) {
  ReplicaHost& host = live(info);
  JsLink* link = JsLink::unwrap(info, info[0]);
  const Bytes frame = argBytes(info, info[1], "hello");
  if (!info[2].IsBoolean()) badType(info, "answers", "a boolean");
  return guard(info.Env(), [&]() -> Napi::Value {
    const uint64_t peer = readReplicaHello(frame.data, frame.length, host.cluster(), host.id());
    std::unique_ptr<Link> moved = link->take();
    if (info[2].As<Napi::Boolean>().Value()) {
      const std::vector<uint8_t> answer = replicaHello(host.cluster(), host.id(), peer);
      moved->send(answer.data(), answer.size());
    }
    link->left();
    host.attach(peer, std::move(moved));
    return Napi::Number::New(info.Env(), static_cast<double>(peer));
  });
}

void JsReplica::drop(const Napi::CallbackInfo& info) {
  live(info).drop(argInteger(info, info[0], "peer", 1, kIdMax));
}

// propose(bytes): what is not led from here is lost
void JsReplica::propose(const Napi::CallbackInfo& info) {
  ReplicaHost& host = live(info);
  const Bytes bytes = argBytes(info, info[0], "bytes");
  if (bytes.length == 0 || bytes.length > quorum::kEntryBytesMax) {
    badRange(info, "bytes", "a byte at least, and a megabyte at most");
  }
  host.propose(quorum::Slice::copy(bytes.data, bytes.length));
}

void JsReplica::transfer(const Napi::CallbackInfo& info) {
  live(info).transfer(argInteger(info, info[0], "to", 0, kIdMax));
}

// run(ring): its VM executes what is agreed on; nobody else may seal or fill any more
void JsReplica::run(const Napi::CallbackInfo& info) {
  ReplicaHost& host = live(info);
  guard(info.Env(), [&] {
    if (core_) throw RingError("ERR_RING_STATE", "the replica has a VM already");
    core_ = ExitRing::unwrap(info, info[0])->takeForCourier(info);
    ring_ = Napi::Persistent(info[0].As<Napi::Object>());
    core_->stopCourier = [this] {
      if (host_) host_->letGo();
      ring_.Reset();
      // It may run another one.
      const std::shared_ptr<RingCore> gone = std::move(core_);
      gone->stopCourier = nullptr;
    };
    host.run(core_);
  });
}

// lead({vmId, term, seal …}): its VM is live
void JsReplica::lead(const Napi::CallbackInfo& info) {
  ReplicaHost& host = live(info);
  guard(info.Env(), [&] { host.lead(shipOptions(info, Options(info, info[0], "options"))); });
}

// vmFacts(into): a BigUint64Array of kFacts words; stays as it is after destroy
void JsReplica::vmFacts(const Napi::CallbackInfo& info) {
  uint64_t* into = argWords(info, info[0], "into", kFacts);
  if (!host_) return;
  const Facts facts = host_->vmFacts();
  memcpy(into, &facts, sizeof facts);
}

Napi::Value JsReplica::facts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const ReplicaFacts facts = live(info).facts();
  Napi::Array connected = Napi::Array::New(env);
  for (const uint64_t id : facts.connected) {
    connected.Set(connected.Length(), Napi::Number::New(env, static_cast<double>(id)));
  }
  Napi::Object object = Result(env)
                            .text("role", nameOf(facts.role))
                            .u64("term", facts.term)
                            .number("leader", static_cast<double>(facts.leader))
                            .u64("lastIndex", facts.lastIndex)
                            .u64("committedIndex", facts.committedIndex)
                            .object();
  object.Set("connected", connected);
  return object;
}

}  // namespace exitlog
