/*
 * The hash of digests and of the output chain: QEMU's and the addon's.
 *
 * Four independent multiply-rotate lanes (the structure of xxHash64's main
 * loop: https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) with other
 * finalisation; it only has to agree with itself.  Words are little-endian, as
 * every host that this runs on is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXITLOG_HASH_H
#define EXITLOG_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXITLOG_HASH_1 0x9E3779B185EBCA87ULL
#define EXITLOG_HASH_2 0xC2B2AE3D27D4EB4FULL
#define EXITLOG_HASH_3 0x165667B19E3779F9ULL
/* A page of memory: hash of its bytes, with seed + number * this. */
#define EXITLOG_HASH_PAGE 0x9E3779B97F4A7C15ULL

static inline uint64_t exitlog_hash_rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline uint64_t exitlog_hash_round(uint64_t acc, uint64_t word)
{
    return exitlog_hash_rotate(acc + word * EXITLOG_HASH_2, 31) * EXITLOG_HASH_1;
}

static inline uint64_t exitlog_hash_word(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* One pass, any length. */
static inline uint64_t exitlog_hash_of(const void *data, size_t len, uint64_t seed)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t left = len;
    uint64_t a = seed + EXITLOG_HASH_1, b = seed ^ EXITLOG_HASH_2;
    uint64_t c = seed + EXITLOG_HASH_3, d = seed - EXITLOG_HASH_1, h;

    while (left >= 32) {
        a = exitlog_hash_round(a, exitlog_hash_word(p));
        b = exitlog_hash_round(b, exitlog_hash_word(p + 8));
        c = exitlog_hash_round(c, exitlog_hash_word(p + 16));
        d = exitlog_hash_round(d, exitlog_hash_word(p + 24));
        p += 32;
        left -= 32;
    }
    h = exitlog_hash_rotate(a, 1) + exitlog_hash_rotate(b, 7) +
        exitlog_hash_rotate(c, 12) + exitlog_hash_rotate(d, 18) + len;
    while (left >= 8) {
        h = exitlog_hash_round(h, exitlog_hash_word(p));
        p += 8;
        left -= 8;
    }
    while (left--) {
        h = exitlog_hash_round(h, *p++);
    }
    h = (h ^ (h >> 33)) * EXITLOG_HASH_2;
    h = (h ^ (h >> 29)) * EXITLOG_HASH_3;
    return h ^ (h >> 32);
}

#endif
