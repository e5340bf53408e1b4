// SPDX-License-Identifier: Apache-2.0
#include "link/dial.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace exitlog {

namespace {

// One of several addresses that does not answer in this time is left for the next.
constexpr uint64_t kAttemptMs = 250;

// Whether it is decided, and how.
bool isSettled(int fd, int& error) {
  struct pollfd look{fd, POLLOUT, 0};
  if (poll(&look, 1, 0) <= 0) return false;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  return true;
}

}  // namespace

Dial::Dial(Napi::Env env, std::vector<SocketAddress> addresses, Dialer& dialer)
    : env_(env), addresses_(std::move(addresses)), dialer_(dialer) {}

Dial::~Dial() { giveUp(0); }

void Dial::giveUp(int error) {
  if (firstError_ == 0) firstError_ = error;
  watch_.reset();
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void Dial::next() {
  while (tried_ < addresses_.size()) {
    const SocketAddress& address = addresses_[tried_++];
    fd_ = openSocket(address.family());
    const bool isOnItsWay =
        fd_ >= 0 && (connect(fd_, address.get(), address.length) == 0 || errno == EINPROGRESS);
    int error = isOnItsWay ? 0 : errno;
    if (error == 0) {
      watch_ = std::make_unique<Watch>(env_, *this);
      error = watch_->begin(fd_);
    }
    if (error != 0) {
      giveUp(error);
      continue;
    }
    watch_->want(false, true);
    if (tried_ < addresses_.size()) watch_->setAlarm(kAttemptMs);
    return;
  }
  dialer_.unreachable(firstError_);
}

void Dial::ready() {
  int error = 0;
  if (!isSettled(fd_, error)) {
    watch_->want(false, true);
  } else if (error != 0) {
    giveUp(error);
    next();
  } else {
    watch_.reset();
    dialer_.connected(std::exchange(fd_, -1));
  }
}

// This thread may have been busy: it may be decided already.
void Dial::alarm() {
  int error = 0;
  if (isSettled(fd_, error)) return;
  giveUp(ETIMEDOUT);
  next();
}

}  // namespace exitlog
