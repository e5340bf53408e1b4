// SPDX-License-Identifier: Apache-2.0
// What each of our patches to libraft mends, in as few events as it takes.
#pragma once

namespace quorum {

// Throws a Violation, or is ended by an assertion of libraft's, where the patch is not there.
void playRaftCase(unsigned patch);

}  // namespace quorum
