// SPDX-License-Identifier: Apache-2.0
#include "ring/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bits/args.h"

namespace exitlog {

namespace {

[[noreturn]] void fail(int error, const char* what) {
  throw std::system_error(error, std::generic_category(), what);
}

int attach(const std::string& name) {
  struct ifreq request = {};
  // TUNSETIFF makes what is not there, for whoever may.
  if (if_nametoindex(name.c_str()) == 0) fail(errno, name.c_str());
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail(errno, "/dev/net/tun");
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(fd, TUNSETIFF, &request) < 0) {
    const int error = errno;
    close(fd);
    fail(error, name.c_str());
  }
  return fd;
}

}  // namespace

Napi::Value openTap(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    if (!info[0].IsString()) badType(info, "name", "a string");
    const std::string name = info[0].As<Napi::String>().Utf8Value();
    const bool hasNul = strlen(name.c_str()) < name.size();
    if (name.empty() || name.size() >= IFNAMSIZ || hasNul) badRange(info, "name", "an interface's name");
    return Napi::Number::New(info.Env(), attach(name));
  });
}

}  // namespace exitlog
