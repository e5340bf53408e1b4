/*
 * Exit log: discards of a device that waits for them in a coroutine (IDE's TRIM).
 *
 * The request is one as all others are; the coroutine goes on where its completion is
 * injected.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/coroutine.h"
#include "system/block-backend.h"
#include "exitlog/exitlog.h"

typedef struct Waiting {
    Coroutine *co;
    int ret;
} Waiting;

static void discarded(void *opaque, int ret)
{
    Waiting *w = opaque;

    w->ret = ret;
    qemu_coroutine_enter(w->co);
}

int coroutine_fn exitlog_blk_co_discard(BlockBackend *blk, int64_t offset,
                                        int64_t bytes)
{
    Waiting w = { .co = qemu_coroutine_self() };

    if (!exitlog_blk_captures(blk, discarded)) {
        return blk_co_pdiscard(blk, offset, bytes, BDRV_REQ_NO_QUEUE);
    }
    exitlog_blk_aio(blk, EXITLOG_BLK_DISCARD, offset, bytes, NULL, 0, discarded,
                    &w);
    qemu_coroutine_yield();
    return w.ret;
}
