/*
 * Exit log: what a checkpoint has of memory and disks, compressed.
 *
 * At most CHECKPOINT_PACK_BYTES at once, so that neither side needs more memory
 * than that.  zstd at level 1: the helper that compresses has half a core at
 * best, and a replay decompresses a whole chain before it starts.  Content that
 * does not shrink is stored as it is, and zeros are not stored: how many bytes
 * are says which it is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "exitlog/cut/checkpoint-format.h"
#include "exitlog/cut/checkpoint-pack.h"
#include <zstd.h>

#define LEVEL 1

const void *checkpoint_pack(const void *content, size_t len, uint32_t *stored)
{
    static ZSTD_CCtx *packer;
    static uint8_t *packed;
    size_t n;

    assert(len > 0 && len <= CHECKPOINT_PACK_BYTES);
    if (!packer) {
        packer = ZSTD_createCCtx();
        packed = g_malloc(CHECKPOINT_PACK_BYTES);
    }
    if (buffer_is_zero(content, len)) {
        *stored = 0;
        return content;
    }
    /* No room for what is not smaller: an error, as is having no memory. */
    n = packer ? ZSTD_compressCCtx(packer, packed, len - 1, content, len, LEVEL)
               : len;
    if (!packer || ZSTD_isError(n)) {
        *stored = len;
        return content;
    }
    *stored = n;
    return packed;
}

bool checkpoint_unpack(const void *bytes, size_t stored, void *content,
                       size_t len)
{
    static ZSTD_DCtx *unpacker;

    if (stored == 0) {
        memset(content, 0, len);
        return true;
    }
    if (stored == len) {
        memcpy(content, bytes, len);
        return true;
    }
    if (!unpacker) {
        unpacker = ZSTD_createDCtx();
    }
    return unpacker &&
        ZSTD_decompressDCtx(unpacker, content, len, bytes, stored) == len;
}
