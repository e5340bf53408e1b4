// SPDX-License-Identifier: Apache-2.0
// A piece of work for a thread of the pool, whose owner may be gone when it ends.
#pragma once

#include <napi.h>

#include <memory>
#include <new>
#include <string>
#include <system_error>

#include "bits/args.h"
#include "bits/peer_error.h"

namespace exitlog {

// What went wrong; code null: nothing.
struct Failure {
  const char* code = nullptr;  // as ENOSPC, or PeerError's
  std::string message;
};

// `run` on the thread, then, on the event loop, `done`, which gets what `run` threw.
template <class Run, class Done>
class PoolWork final : public Napi::AsyncWorker {
 public:
  PoolWork(Napi::Env env, const char* name, Run run, Done done)
      : Napi::AsyncWorker(env, name), run_(std::move(run)), done_(std::move(done)) {}

 protected:
  void Execute() override {
    try {
      run_();
    } catch (const PeerError& error) {
      failure_ = Failure{error.code, error.what()};
    } catch (const std::system_error& error) {
      failure_ = Failure{errnoName(error.code().value()), error.what()};
    } catch (const std::bad_alloc&) {
      failure_ = Failure{"ENOMEM", "out of memory"};
    }
  }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    try {
      done_(failure_);
    } catch (const Napi::Error&) {
      // The environment ended meanwhile: there is nobody to tell.
    }
  }

 private:
  Run run_;
  Done done_;
  Failure failure_;
};

template <class Run, class Done>
void inPool(Napi::Env env, const char* name, Run run, Done done) {
  (new PoolWork<Run, Done>(env, name, std::move(run), std::move(done)))->Queue();
}

}  // namespace exitlog
