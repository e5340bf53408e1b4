// SPDX-License-Identifier: Apache-2.0
#include "link/listener_js.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>

#include "bits/args.h"
#include "link/address.h"
#include "link/link_js.h"

namespace exitlog {

namespace {

constexpr int kBacklog = 511;
// Where the host has no memory for another connection.
constexpr uint64_t kRestMs = 100;

int acceptOn(int fd, SocketAddress& from) {
  return accept4(fd, from.get(), &from.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

bool listens(int fd, const SocketAddress& at) {
  const int on = 1;
  const int off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (at.family() == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  return bind(fd, at.get(), at.length) == 0 && listen(fd, kBacklog) == 0;
}

}  // namespace

Napi::Function JsListener::define(Napi::Env env) {
  return DefineClass(env, "Listener",
                     {InstanceMethod<&JsListener::accept>("accept"),
                      InstanceMethod<&JsListener::port>("port"),
                      InstanceMethod<&JsListener::close>("close")});
}

JsListener::JsListener(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsListener>(info) {
  if (!info[2].IsFunction()) badType(info, "callback", "a function");
  guard(info.Env(), [&] {
    try {
      listenOn(info);
    } catch (...) {
      release();
      throw;
    }
  });
}

void JsListener::listenOn(const Napi::CallbackInfo& info) {
  const std::string numbers = argString(info, 0, "address");
  const auto port = static_cast<uint16_t>(argInteger(info, info[1], "port", 0, UINT16_MAX));
  SocketAddress at;
  if (!readAddress(numbers, port, at)) badRange(info, "address", "an address of IPv4 or IPv6");
  fd_ = openSocket(at.family());
  if (fd_ < 0 || !listens(fd_, at)) {
    const int error = errno;
    const std::string what = format("listen %s: %s %s:%u", errnoName(error), uv_strerror(-error),
                                    numbers.c_str(), port);
    throw withCode(info.Env(), Napi::Error::New(info.Env(), what), errnoName(error));
  }
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  watch_ = std::make_unique<Watch>(info.Env(), *this);
  callback_ = JsCallback(info[2].As<Napi::Function>(), info.This().As<Napi::Object>(),
                         "understudy:Listener");
  const int error = watch_->begin(fd_);
  if (error != 0) throw std::system_error(error, std::generic_category(), "uv_poll_init");
  watch_->want(true, false);
}

// Idempotent.
void JsListener::release() {
  watch_.reset();
  callback_.reset();
  for (int* fd : {&fd_, &spare_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

void JsListener::ready() {
  watch_->want(true, false);
  Napi::HandleScope scope(Env());
  callback_.call({});
}

// accept(link): the socket of the next one that came is that link's. False: there is none.
Napi::Value JsListener::accept(const Napi::CallbackInfo& info) {
  JsLink* link = JsLink::unwrap(info, info[0]);
  if (!link->isFresh()) {
    guard(info.Env(), [] { throw RingError("ERR_RING_STATE", "the link is connected already"); });
  }
  SocketAddress from;
  const int fd = fd_ < 0 ? -1 : acceptOn(fd_, from);
  if (fd >= 0) {
    setNoDelay(fd);
    link->adopt(fd, from.text());
  } else if (fd_ >= 0 && (errno == EMFILE || errno == ENFILE)) {
    turnAway();
  } else if (fd_ >= 0 && (errno == ENOBUFS || errno == ENOMEM)) {
    rest();
  }
  return Napi::Boolean::New(info.Env(), fd >= 0);
}

// Without a descriptor for it, it would wait for ever and wake us for ever: its connection
// is closed.
void JsListener::turnAway() {
  if (spare_ >= 0) ::close(spare_);
  SocketAddress from;
  const int fd = acceptOn(fd_, from);
  if (fd >= 0) ::close(fd);
  spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) rest();
}

void JsListener::rest() {
  watch_->want(false, false);
  watch_->setAlarm(kRestMs);
}

// port(): where it listens; 0 when closed
Napi::Value JsListener::port(const Napi::CallbackInfo& info) {
  SocketAddress at;
  const bool isKnown = fd_ >= 0 && getsockname(fd_, at.get(), &at.length) == 0;
  return Napi::Number::New(info.Env(), isKnown ? at.port() : 0);
}

}  // namespace exitlog
