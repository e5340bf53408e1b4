/*
 * Exit log: a 64-bit hash for digests and the output chain.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "exitlog/core/hash.h"
#include "exitlog/exitlog_hash.h"

uint64_t exitlog_hash(const void *data, size_t len, uint64_t seed)
{
    return exitlog_hash_of(data, len, seed);
}
