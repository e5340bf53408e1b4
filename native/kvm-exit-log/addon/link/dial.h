// SPDX-License-Identifier: Apache-2.0
// Connects to the first of some addresses that answers.
#pragma once

#include <memory>
#include <vector>

#include "link/address.h"
#include "link/watch.h"

namespace exitlog {

// Who is called back, once. It may end the dial.
class Dialer {
 public:
  // The descriptor is the dialer's.
  virtual void connected(int fd) = 0;
  // With the errno of the first address.
  virtual void unreachable(int error) = 0;

 protected:
  ~Dialer() = default;
};

class Dial final : public Watcher {
 public:
  Dial(Napi::Env env, std::vector<SocketAddress> addresses, Dialer& dialer);
  ~Dial();
  // May call the dialer at once. Throws Napi::Error.
  void next();

 private:
  void ready() override;
  void alarm() override;
  void tornDown() override { giveUp(0); }
  void giveUp(int error);

  Napi::Env env_;
  std::vector<SocketAddress> addresses_;
  size_t tried_ = 0;
  Dialer& dialer_;
  int fd_ = -1;
  int firstError_ = 0;
  std::unique_ptr<Watch> watch_;
};

}  // namespace exitlog
