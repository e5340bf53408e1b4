// SPDX-License-Identifier: Apache-2.0
// Whether something keeps the host's clock right: what the kernel was told by whoever does
// (chrony, ntpd, systemd-timesyncd, a hypervisor's PTP clock).
#include "bits/host_clock.h"

#include <sys/timex.h>

namespace exitlog {

Napi::Value hostClock(const Napi::CallbackInfo& info) {
  struct timex facts = {};  // modes 0: only asks
  const int state = adjtimex(&facts);
  if (state < 0) return info.Env().Null();
  Napi::Object told = Napi::Object::New(info.Env());
  const bool synchronised = state != TIME_ERROR && (facts.status & STA_UNSYNC) == 0;
  told.Set("synchronised", Napi::Boolean::New(info.Env(), synchronised));
  told.Set("errorMs", Napi::Number::New(info.Env(), static_cast<double>(facts.maxerror) / 1000));
  return told;
}

}  // namespace exitlog
