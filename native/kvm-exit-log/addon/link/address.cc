// SPDX-License-Identifier: Apache-2.0
#include "link/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstring>

namespace exitlog {

uint16_t SocketAddress::port() const {
  if (family() == AF_INET6) {
    return ntohs(reinterpret_cast<const struct sockaddr_in6*>(&storage)->sin6_port);
  }
  return ntohs(reinterpret_cast<const struct sockaddr_in*>(&storage)->sin_port);
}

std::string SocketAddress::text() const {
  char host[NI_MAXHOST];
  if (getnameinfo(get(), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0) return "?:?";
  return std::string(host) + ":" + std::to_string(port());
}

bool readAddress(const std::string& numbers, uint16_t port, SocketAddress& into) {
  struct addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  struct addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  if (getaddrinfo(numbers.c_str(), service.c_str(), &hints, &found) != 0) return false;
  memcpy(&into.storage, found->ai_addr, found->ai_addrlen);
  into.length = found->ai_addrlen;
  freeaddrinfo(found);
  return true;
}

int openSocket(int family) {
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) setNoDelay(fd);
  return fd;
}

void setNoDelay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace exitlog
