/*
 * Exit log: disk requests of the guest.
 *
 * Data is copied at two positions only: out of the guest when the request is
 * issued, into it when the completion is injected.  In between the request
 * works on a bounce buffer, so no host thread touches guest memory, and what
 * reaches the disk does not depend on when it is written.
 *
 * Requests are numbered in issue order.  A completion is one record (number,
 * result); a replay issues the same request to its own copy of the disk and
 * waits for it there.  Of requests that overlap, if one of them writes, the later
 * one goes to the disk when the guest has been told of the earlier one: which came
 * first would be the host's choice, and what a failed write has left there is to
 * be the same on both sides (disk-error.c).
 *
 * A drain (the guest resets the device) completes everything in issue order, at a
 * position that the guest chose; the outcomes are in the log there.
 *
 * A replay answers a flush at once and owes it (flush-owed.c).
 *
 * What is discarded reads as zeros, whatever the host can free: what it would
 * read otherwise is the host's choice.  What is zeroed is freed as well.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "exitlog/exits/block.h"
#include "qemu/iov.h"
#include "qemu/cutils.h"
#include "qemu/memalign.h"
#include "block/aio-wait.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"

/*
 * For transfers to and from a device's memory, which go through a buffer: a virtio
 * device that gets none is broken for good, so there is room for a queue of them.
 */
#define DEVICE_MEMORY_BYTES (64 * MiB)
/* At the log's end, for what is in flight. */
#define END_NS_MAX (5 * NANOSECONDS_PER_SECOND)

/* Issued and not completed to the guest, in issue order.  BQL. */
static QTAILQ_HEAD(, Request) requests = QTAILQ_HEAD_INITIALIZER(requests);
static uint64_t next_id;
static unsigned done_count;
static unsigned held_count;

static const AIOCBInfo request_info = {
    .aiocb_size = sizeof(Request),
    .cancel_async = exitlog_blk_cancel,
};

static void request_done(void *opaque, int ret);

/* The number in "diskN" (the -drive id that the daemon gives). */
int exitlog_blk_channel(BlockBackend *blk)
{
    const char *digits;

    return strstart(blk_name(blk), "disk", &digits) ? atoi(digits) : -1;
}

bool exitlog_blk_captures(BlockBackend *blk, BlockCompletionFunc *cb)
{
    return exitlog_on() && !xl.ended && cb != request_done &&
        cb != exitlog_flush_paid && exitlog_blk_channel(blk) >= 0;
}

void exitlog_blk_init(void)
{
    address_space_memory.max_bounce_buffer_size = DEVICE_MEMORY_BYTES;
}

/* Answered, and owed. */
static void flush_later(Request *r)
{
    exitlog_flush_owe(r->disk, r->blk);
    r->ret = 0;
    r->done = true;
    done_count++;
}

/* The guest has to be told of an earlier one first: the same on both sides. */
bool exitlog_blk_is_behind(const Request *r)
{
    Request *o;

    QTAILQ_FOREACH(o, &requests, next) {
        if (o == r) {
            return false;
        }
        if (o->blk == r->blk && o->op != EXITLOG_BLK_FLUSH &&
            (request_changes_data(o) || request_changes_data(r)) &&
            o->offset < r->offset + r->bytes &&
            r->offset < o->offset + o->bytes) {
            return true;
        }
    }
    return false;
}

static bool must_wait(const Request *r)
{
    return exitlog_blk_is_behind(r) ||
        (request_changes_data(r) &&
         exitlog_checkpoint_disk_reads(r->disk, r->offset, r->bytes));
}

static void submit(Request *r)
{
    r->submitted = true;
    if (request_changes_data(r)) {
        exitlog_checkpoint_disk_write(r->disk, r->offset, r->bytes);
    }
    switch (r->op) {
    case EXITLOG_BLK_READ:
        blk_aio_preadv(r->blk, r->offset, &r->bounce, r->flags, request_done,
                       r);
        break;
    case EXITLOG_BLK_WRITE:
        blk_aio_pwritev(r->blk, r->offset, &r->bounce, r->flags, request_done,
                        r);
        break;
    case EXITLOG_BLK_ZEROES:
    case EXITLOG_BLK_DISCARD:
        blk_aio_pwrite_zeroes(r->blk, r->offset, r->bytes,
                              r->flags | BDRV_REQ_MAY_UNMAP, request_done, r);
        break;
    case EXITLOG_BLK_FLUSH:
        if (xl.live) {
            blk_aio_flush(r->blk, request_done, r);
        } else {
            flush_later(r);
        }
        break;
    }
}

/*
 * The log is used up: what the guest was told is durable becomes so, and a flush
 * that it still waits for is done before it is answered.
 */
void exitlog_blk_go_live(void)
{
    Request *r;

    exitlog_flush_pay();
    QTAILQ_FOREACH(r, &requests, next) {
        if (r->op == EXITLOG_BLK_FLUSH && r->done) {
            r->done = false;
            done_count--;
            submit(r);
        }
    }
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
    r->id = next_id++;
    r->offset = offset;
    r->bytes = qiov ? qiov->size : bytes;
    r->flags = flags & ~BDRV_REQ_REGISTERED_BUF;
    r->guest = qiov;
    r->buf = NULL;
    r->ret = -EINPROGRESS;
    r->submitted = r->done = r->held = false;
    if (qiov) {
        r->buf = blk_blockalign(blk, MAX(r->bytes, 1));
        qemu_iovec_init_buf(&r->bounce, r->buf, r->bytes);
        if (op == EXITLOG_BLK_WRITE) {
            qemu_iovec_to_buf(qiov, 0, r->buf, r->bytes);
        }
    }
    QTAILQ_INSERT_TAIL(&requests, r, next);
    if (!must_wait(r)) {
        submit(r);
    }
    return &r->common;
}

/* What may go to the disk now, for others are done.  BQL. */
void exitlog_blk_resubmit(void)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if (!r->submitted && !r->held && !must_wait(r)) {
            submit(r);
        }
    }
}

static void set_held(Request *r, bool held)
{
    held_count += held - r->held;
    r->held = held;
}

bool exitlog_blk_holds(void)
{
    return held_count > 0;
}

void exitlog_blk_try_again(void)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        set_held(r, false);
    }
    exitlog_blk_resubmit();
}

void exitlog_blk_set_done(Request *r)
{
    set_held(r, false);
    r->done = true;
    done_count++;
    aio_wait_kick();
    exitlog_kick();
}

/* The host finished it; the guest does not know yet.  Main loop, BQL. */
static void request_done(void *opaque, int ret)
{
    Request *r = opaque;

    r->ret = ret;
    if (!exitlog_blk_here && exitlog_disk_full_hold(r)) {
        r->submitted = false;
        set_held(r, true);
        return;
    }
    exitlog_blk_set_done(r);
}

/* Tell the guest: copy what was read, run the device's completion. */
void exitlog_blk_complete(Request *r, int ret)
{
    QTAILQ_REMOVE(&requests, r, next);
    done_count -= r->done;
    exitlog_blk_resubmit(); /* what was behind it */
    if (r->op == EXITLOG_BLK_READ && ret >= 0) {
        qemu_iovec_from_buf(r->guest, 0, r->buf, r->bytes);
    }
    r->common.cb(r->common.opaque, ret);
    qemu_vfree(r->buf);
    qemu_aio_unref(r);
}

/* Live: what came of it is in the log before the guest hears. */
void exitlog_blk_log_outcome(const Request *r)
{
    exitlog_disk_outcome(r);
    exitlog_emit(EXITLOG_BLK_DONE, r->disk, (uint32_t)(int32_t)r->ret, r->id,
                 NULL);
}

bool exitlog_blk_pending(void)
{
    return done_count > 0;
}

/* Live: the oldest request that is done. */
bool exitlog_blk_inject(void)
{
    Request *r;

    if (!done_count) {
        return false;
    }
    QTAILQ_FOREACH(r, &requests, next) {
        if (r->done) {
            exitlog_blk_log_outcome(r);
            exitlog_blk_complete(r, r->ret);
            return true;
        }
    }
    g_assert_not_reached();
}

bool exitlog_blk_quiet(void)
{
    return QTAILQ_EMPTY(&requests);
}

/* For a mark: what may still reach the disk counts as written after it.  BQL. */
void exitlog_blk_mark_unfinished(void)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if ((r->submitted || r->held) && !r->done && request_changes_data(r)) {
            exitlog_checkpoint_disk_write(r->disk, r->offset, r->bytes);
        }
    }
}

/*
 * A guest may issue more for ever, so one at a time.  False: none is left, or one
 * waits for room.
 */
bool exitlog_blk_finish_one(void)
{
    if (exitlog_blk_quiet()) {
        return false;
    }
    while (!done_count && !held_count) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    return exitlog_blk_inject();
}

/*
 * Live: the log ends.  What is in flight reaches the disk on both sides; of what
 * fails here the log has what that left on the disk.
 */
void exitlog_blk_end(void)
{
    int64_t start = get_clock();
    Request *r;

    exitlog_disk_full_end();
    QTAILQ_FOREACH(r, &requests, next) {
        while (!r->done && !r->held && !exitlog_blk_is_behind(r) &&
               get_clock() - start < END_NS_MAX) {
            exitlog_vcpu_wait(SCALE_MS);
            qatomic_set(&xl.shm->visits, xl.shm->visits + 1); /* it lives */
        }
        if (r->done || r->held) {
            exitlog_disk_outcome(r);
        }
    }
    exitlog_disk_settle_doubts();
}

uint64_t exitlog_blk_next_id(void)
{
    return next_id;
}

void exitlog_blk_set_next_id(uint64_t id)
{
    next_id = id;
}

Request *exitlog_blk_find(uint64_t id, int disk)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if (r->id == id) {
            return r->disk == disk ? r : NULL;
        }
    }
    return NULL;
}

/* Replay: the same completion; our own copy of the disk must be done first. */
void exitlog_blk_apply(const struct exitlog_record *rec)
{
    int32_t ret = (int32_t)rec->len;
    Request *r = exitlog_blk_find(rec->arg, rec->channel);

    if (!r) {
        exitlog_diverge(rec, "the log completes disk request %" PRIu64 ", which "
                        "the guest has not issued", rec->arg);
    }
    while (!r->done) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    exitlog_disk_replayed(r, ret);
    exitlog_blk_complete(r, ret);
}

Request *exitlog_blk_oldest(BlockBackend *blk)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if (r->blk == blk) {
            return r;
        }
    }
    return NULL;
}
