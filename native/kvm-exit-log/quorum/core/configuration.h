// SPDX-License-Identifier: Apache-2.0
// Who the replicas are, as libraft has it and as an entry says it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/entry.h"
#include "core/raft.h"

namespace quorum {

struct Member {
  uint64_t id;
  std::string address;
  bool isVoter;
};

class Configuration {
 public:
  // Throws a RangeFault for two with one id or one address.
  explicit Configuration(const std::vector<Member>& members);
  ~Configuration() { raft_configuration_close(&value_); }
  Configuration(const Configuration&) = delete;
  Configuration& operator=(const Configuration&) = delete;
  Slice encoded() const;

 private:
  raft_configuration value_;
};

std::vector<Member> membersOf(const raft_configuration& configuration);

}  // namespace quorum
