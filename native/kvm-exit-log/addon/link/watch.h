// SPDX-License-Identifier: Apache-2.0
// A socket and an alarm on the event loop of an environment.
#pragma once

#include <napi.h>

#include <cstdint>

namespace exitlog {

// Who watches. Any of these may end the watch.
class Watcher {
 public:
  // The socket is what was wanted, or broken.
  virtual void ready() = 0;
  virtual void alarm() = 0;
  // The environment ends: nothing of JavaScript's may be called any more.
  virtual void tornDown() = 0;

 protected:
  ~Watcher() = default;
};

class Watch {
 public:
  // Throws Napi::Error.
  Watch(Napi::Env env, Watcher& watcher);
  // The socket may be closed from then on.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // The socket, once. Returns 0 or an errno.
  int begin(int fd);
  void want(bool reading, bool writing);
  // In place of an earlier one.
  void setAlarm(uint64_t ms);
  void clearAlarm();

 private:
  struct Handles;  // the loop's until it has closed them
  Handles* handles_;
};

}  // namespace exitlog
