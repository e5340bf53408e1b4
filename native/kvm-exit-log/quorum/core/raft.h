// SPDX-License-Identifier: Apache-2.0
// libraft's header, which has no guard for C++.
#pragma once

extern "C" {
#include <raft.h>
}
