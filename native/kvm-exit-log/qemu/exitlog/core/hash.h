/*
 * Exit log: a 64-bit hash for digests and the output chain.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EXITLOG_CORE_HASH_H
#define EXITLOG_CORE_HASH_H

/* One pass, any length. */
uint64_t exitlog_hash(const void *data, size_t len, uint64_t seed);

#endif
