// SPDX-License-Identifier: Apache-2.0
// What must hold whatever happens: of all that any replica was told, there is one history; what was
// answered is in it for good; in a term one replica at most lets outputs go.
#pragma once

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/entry.h"

namespace quorum {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class History {
 public:
  // A replica was told that this is committed; throws a Violation where another was told otherwise.
  void told(uint64_t replica, uint64_t index, const Entry& entry);
  // A replica has the state behind an entry, by what it was told or by a checkpoint.
  void hasState(uint64_t replica, uint64_t index, uint64_t state) const;
  // The state behind an entry, of the one before it.
  static uint64_t stateBehind(uint64_t before, const Entry& entry);
  // A leader let the outputs of a request go.
  void answered(uint64_t replica, uint64_t term, uint64_t request, uint64_t index);
  // A replica leads in a term.
  void leads(uint64_t replica, uint64_t term);
  // What a replica was told, from its start to an index, has all that was answered until then.
  void covers(uint64_t index) const;

  uint64_t last() const { return entries_.size(); }
  uint64_t answers() const { return answers_.size(); }
  uint64_t terms() const { return leaders_.size(); }
  bool isAnswered(uint64_t request) const { return answers_.count(request) != 0; }

 private:
  struct Seen {
    uint64_t term;
    uint64_t checksum;
    Kind kind;
    uint64_t by;
    uint64_t state;  // a hash of all entries up to this one
  };
  std::vector<Seen> entries_;
  std::map<uint64_t, uint64_t> answers_;    // request: index
  std::map<uint64_t, uint64_t> leaders_;    // term: who
  std::map<uint64_t, uint64_t> releasers_;  // term: who
};

}  // namespace quorum
