/*
 * Exit log: a 64-bit hash for digests and the output chain.
 *
 * Four independent multiply-rotate lanes (the structure of xxHash64's main
 * loop: https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) with other
 * finalisation; it only has to agree with itself.  Little-endian hosts and
 * big-endian ones get the same value.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "exitlog/core/hash.h"

#define P1 0x9E3779B185EBCA87ULL
#define P2 0xC2B2AE3D27D4EB4FULL
#define P3 0x165667B19E3779F9ULL

static inline uint64_t round64(uint64_t acc, uint64_t word)
{
    return rol64(acc + word * P2, 31) * P1;
}

uint64_t exitlog_hash(const void *data, size_t len, uint64_t seed)
{
    const uint8_t *p = data;
    size_t left = len;
    uint64_t a = seed + P1, b = seed ^ P2, c = seed + P3, d = seed - P1, h;

    while (left >= 32) {
        a = round64(a, ldq_le_p(p));
        b = round64(b, ldq_le_p(p + 8));
        c = round64(c, ldq_le_p(p + 16));
        d = round64(d, ldq_le_p(p + 24));
        p += 32;
        left -= 32;
    }
    h = rol64(a, 1) + rol64(b, 7) + rol64(c, 12) + rol64(d, 18) + len;
    while (left >= 8) {
        h = round64(h, ldq_le_p(p));
        p += 8;
        left -= 8;
    }
    while (left--) {
        h = round64(h, *p++);
    }
    h = (h ^ (h >> 33)) * P2;
    h = (h ^ (h >> 29)) * P3;
    return h ^ (h >> 32);
}
