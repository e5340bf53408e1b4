// SPDX-License-Identifier: Apache-2.0
#include "core/configuration.h"

#include <new>

#include "bits/errors.h"

namespace quorum {

Configuration::Configuration(const std::vector<Member>& members) {
  raft_configuration_init(&value_);
  for (const Member& one : members) {
    const int role = one.isVoter ? RAFT_VOTER : RAFT_STANDBY;
    const int error = raft_configuration_add(&value_, one.id, one.address.c_str(), role);
    if (error == 0) continue;
    raft_configuration_close(&value_);
    throw exitlog::RangeFault(exitlog::format("replica %llu: %s",
                                              static_cast<unsigned long long>(one.id),
                                              raft_strerror(error)));
  }
}

Slice Configuration::encoded() const {
  raft_buffer buffer{};
  if (raft_configuration_encode(&value_, &buffer) != 0) throw std::bad_alloc();
  const Slice bytes = Slice::copy(buffer.base, buffer.len);
  raft_free(buffer.base);
  return bytes;
}

std::vector<Member> membersOf(const raft_configuration& configuration) {
  std::vector<Member> all;
  for (unsigned i = 0; i < configuration.n; i++) {
    const raft_server& one = configuration.servers[i];
    all.push_back(Member{one.id, one.address, one.role == RAFT_VOTER});
  }
  return all;
}

}  // namespace quorum
