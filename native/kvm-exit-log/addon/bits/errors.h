// SPDX-License-Identifier: Apache-2.0
// Errors inside the addon; module border turns them into JavaScript errors with
// a `code` (guard() in args.h).
#pragma once

#include <cstdarg>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace exitlog {

// Bytes that are not a log of ours, or no longer: `what` says expected and found.
struct CorruptError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What the ring cannot do in the state it is in; `code` is stable.
struct RingError : std::runtime_error {
  const char* code;
  RingError(const char* code, const std::string& message)
      : std::runtime_error(message), code(code) {}
};

// A backup's VM is not its primary's.
struct ImageDiffers : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct RangeFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

__attribute__((format(printf, 1, 2))) inline std::string format(const char* fmt, ...) {
  char text[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  return text;
}

}  // namespace exitlog
