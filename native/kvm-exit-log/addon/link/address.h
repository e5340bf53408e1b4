// SPDX-License-Identifier: Apache-2.0
// Where a socket is, or is to be.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace exitlog {

struct SocketAddress {
  struct sockaddr_storage storage{};
  socklen_t length = sizeof storage;

  struct sockaddr* get() { return reinterpret_cast<struct sockaddr*>(&storage); }
  const struct sockaddr* get() const { return reinterpret_cast<const struct sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  uint16_t port() const;
  // "10.0.0.1:7700", "::1:7700"
  std::string text() const;
};

// From an address in numbers, of IPv4 or IPv6. False: it is none.
bool readAddress(const std::string& numbers, uint16_t port, SocketAddress& into);

// A socket of TCP that does not block, or -1 and errno. No packet of it waits for more.
int openSocket(int family);
void setNoDelay(int fd);

}  // namespace exitlog
