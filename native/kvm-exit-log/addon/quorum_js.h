// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>

#include "bits/js_callback.h"
#include "bits/js_wake.h"
#include "quorum/replica_host.h"

namespace exitlog {

// The native half of quorum.ts's QuorumReplica. new Replica(options, callback): the callback gets
// (kind, number, text, more, bytes) of each event.
class JsReplica final : public Napi::ObjectWrap<JsReplica> {
 public:
  static Napi::Function define(Napi::Env env);
  // Names of events, in the order of their numbers.
  static Napi::Array words(Napi::Env env);
  explicit JsReplica(const Napi::CallbackInfo& info);
  ~JsReplica() override { release(); }

 private:
  ReplicaHost& live(const Napi::CallbackInfo& info) const;
  void release();
  void deliver();
  bool isClosed() const { return host_ == nullptr; }

  Napi::Value hello(const Napi::CallbackInfo& info);
  Napi::Value attach(const Napi::CallbackInfo& info);
  void drop(const Napi::CallbackInfo& info);
  void propose(const Napi::CallbackInfo& info);
  void transfer(const Napi::CallbackInfo& info);
  void run(const Napi::CallbackInfo& info);
  void lead(const Napi::CallbackInfo& info);
  void flush(const Napi::CallbackInfo& info) { live(info).flush(); }
  void vmFacts(const Napi::CallbackInfo& info);
  Napi::Value facts(const Napi::CallbackInfo& info);
  void destroy(const Napi::CallbackInfo&) { release(); }

  std::unique_ptr<ReplicaHost> host_;
  std::shared_ptr<RingCore> core_;  // of its VM
  Napi::ObjectReference ring_;
  JsWake* wake_ = nullptr;
  JsCallback callback_;
};

}  // namespace exitlog
