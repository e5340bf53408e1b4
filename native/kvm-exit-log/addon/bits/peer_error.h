// SPDX-License-Identifier: Apache-2.0
// What ends a connection, in the words that status and the daemon's log show.
#pragma once

#include "bits/errors.h"

namespace exitlog {

constexpr const char* kPeerLost = "peer-lost";
constexpr const char* kPeerProtocol = "peer-protocol";
constexpr const char* kPeerUntrusted = "peer-untrusted";

struct PeerError : std::runtime_error {
  const char* code;
  PeerError(const char* code, const std::string& message)
      : std::runtime_error(message), code(code) {}
};

}  // namespace exitlog
