/*
 * Exit log: disk requests of the guest.
 *
 * Data is copied at two positions only: out of the guest when the request is
 * admitted, into it when the completion is injected.  In between the request
 * works on a bounce buffer, so no host thread touches guest memory, and what
 * reaches the disk does not depend on when it is written.  It is admitted when it is
 * issued, or, while bounce buffers take all the memory they may, at an earlier one's completion.
 *
 * Requests are numbered in issue order.  A completion is one record (number,
 * result); a replay issues the same request to its own copy of the disk and
 * waits for it there.  Which of them go to the disk is block-request.c's matter.
 *
 * A drain (the guest resets the device) completes everything in issue order, at a
 * position that the guest chose; the outcomes are in the log there (block-here.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "exitlog/exitlog.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/exits.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/block-here.h"
#include "exitlog/exits/block-request.h"
#include "exitlog/exits/disk-error.h"
#include "exitlog/exits/disk-full.h"
#include "exitlog/exits/flush-owed.h"

/*
 * For transfers to and from a device's memory, which go through a buffer: a virtio
 * device that gets none is broken for good, so there is room for a queue of them.
 */
#define DEVICE_MEMORY_BYTES (64 * MiB)
/* At the log's end, for what is in flight. */
#define END_NS_MAX (5 * NANOSECONDS_PER_SECOND)

static const AIOCBInfo request_info = {
    .aiocb_size = sizeof(Request),
    .cancel_async = exitlog_blk_cancel,
};

/* The host finished it; the guest does not know yet.  Main loop, BQL. */
static void request_done(void *opaque, int ret)
{
    Request *r = opaque;

    r->ret = ret;
    if (!exitlog_blk_here &&
        (exitlog_disk_full_hold(r) || exitlog_disk_failing_hold(r))) {
        exitlog_blk_set_held(r);
        return;
    }
    exitlog_blk_set_done(r);
}

bool exitlog_blk_captures(BlockBackend *blk, BlockCompletionFunc *cb)
{
    return exitlog_on() && !xl.ended && cb != request_done &&
        cb != exitlog_flush_paid && exitlog_blk_channel(blk) >= 0;
}

BlockAIOCB *exitlog_blk_aio(BlockBackend *blk, ExitlogBlkOp op, int64_t offset,
                            int64_t bytes, QEMUIOVector *qiov,
                            BdrvRequestFlags flags,
                            BlockCompletionFunc *cb, void *opaque)
{
    Request *r = qemu_aio_get(&request_info, blk_bs(blk), cb, opaque);

    r->blk = blk;
    r->disk = exitlog_blk_channel(blk);
    r->op = op;
    r->offset = offset;
    r->bytes = qiov ? (int64_t)qiov->size : bytes;
    r->flags = flags & ~BDRV_REQ_REGISTERED_BUF;
    r->guest = qiov;
    r->buf = NULL;
    r->host_done = request_done;
    exitlog_blk_issue(r);
    return &r->common;
}

static void create(void)
{
    address_space_memory.max_bounce_buffer_size = DEVICE_MEMORY_BYTES;
}

static bool pending(void)
{
    return exitlog_blk_oldest_done() != NULL;
}

/* Live: the oldest request that is done. */
static bool inject(void)
{
    Request *r = exitlog_blk_oldest_done();

    if (!r) {
        return false;
    }
    exitlog_blk_log_outcome(r);
    exitlog_blk_complete(r, r->ret);
    return true;
}

static const char *unquiet(void)
{
    return exitlog_blk_oldest(NULL) ? "a disk request is in flight" : NULL;
}

/*
 * A guest may issue more for ever, so one at a time.  False: none is left, or one
 * waits for room.
 */
static bool finish_one(void)
{
    if (!unquiet()) {
        return false;
    }
    while (!pending() && !exitlog_blk_holds()) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    return inject();
}

/*
 * Live: the log ends.  What is in flight reaches the disk on both sides; of what
 * fails here the log has what that left on the disk.
 */
static void end(void)
{
    int64_t start = get_clock();

    exitlog_disk_full_end();
    for (Request *r = exitlog_blk_oldest(NULL); r; r = exitlog_blk_after(r)) {
        while (r->admitted && !r->done && !r->held && !exitlog_blk_is_behind(r) &&
               get_clock() - start < END_NS_MAX) {
            exitlog_vcpu_wait(SCALE_MS);
            exitlog_is_alive();
        }
        if (r->done || r->held) {
            exitlog_disk_outcome(r);
        }
    }
    exitlog_disk_settle_doubts();
}

/* Replay: the same completion; our own copy of the disk must be done first. */
static void blk_apply(const struct exitlog_record *rec)
{
    int32_t ret = (int32_t)rec->len;
    Request *r = exitlog_blk_find(rec->arg, rec->channel);

    if (!r) {
        exitlog_diverge(rec, "the log completes disk request %" PRIu64 ", which "
                        "the guest has not issued", rec->arg);
    }
    if (!r->admitted && !r->refused) {
        exitlog_diverge(rec, "the log completes disk request %" PRIu64 ", which "
                        "waits for others", rec->arg);
    }
    while (!r->done) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    exitlog_disk_replayed(r, ret);
    exitlog_blk_complete(r, ret);
}

static const ExitlogRecordKind records[] = {
    { .kind = EXITLOG_BLK_DONE, .name = "blkDone", .apply = blk_apply },
    { .kind = EXITLOG_BLK_DATA, .name = "blkData",
      .apply = exitlog_disk_data_apply },
    { /* end of list */ }
};

const ExitlogExit exitlog_block_exit = {
    .records = records,
    .create = create,
    .pending = pending,
    .inject = inject,
    .unquiet = unquiet,
    .finish_one = finish_one,
    .end = end,
    .go_live = exitlog_blk_flush_now,
};
