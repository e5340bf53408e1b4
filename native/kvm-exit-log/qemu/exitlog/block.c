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
 * waits for it there.  Requests that overlap are not in flight together if one
 * of them writes: which came first would be the host's choice.
 *
 * A drain (the guest resets the device) completes everything in issue order,
 * at a position that the guest chose: no record.
 *
 * A replay answers a flush at once and owes it (flush-owed.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "internal.h"
#include "qemu/iov.h"
#include "qemu/cutils.h"
#include "qemu/memalign.h"
#include "block/aio-wait.h"
#include "system/block-backend.h"

typedef struct Request {
    BlockAIOCB common; /* the caller's: cb, opaque */
    BlockBackend *blk;
    ExitlogBlkOp op;
    uint64_t id;
    int64_t offset;
    int64_t bytes;
    BdrvRequestFlags flags;
    QEMUIOVector *guest;
    QEMUIOVector bounce;
    void *buf;
    int ret;
    bool submitted;
    bool done;
    QTAILQ_ENTRY(Request) next;
} Request;

/* Issued and not completed to the guest, in issue order.  BQL. */
static QTAILQ_HEAD(, Request) requests = QTAILQ_HEAD_INITIALIZER(requests);
static uint64_t next_id;
static unsigned done_count;

static void request_cancel(BlockAIOCB *acb);

static const AIOCBInfo request_info = {
    .aiocb_size = sizeof(Request),
    .cancel_async = request_cancel,
};

static void request_done(void *opaque, int ret);

/* The number in "diskN" (the -drive id that the daemon gives). */
static int disk_channel(BlockBackend *blk)
{
    const char *digits;

    return strstart(blk_name(blk), "disk", &digits) ? atoi(digits) : -1;
}

bool exitlog_blk_captures(BlockBackend *blk, BlockCompletionFunc *cb)
{
    return exitlog_on() && !xl.ended && cb != request_done &&
        cb != exitlog_flush_paid && disk_channel(blk) >= 0;
}

/* Answered, and owed. */
static void flush_later(Request *r)
{
    exitlog_flush_owe(disk_channel(r->blk), r->blk);
    r->ret = 0;
    r->done = true;
    done_count++;
}

static bool changes_data(const Request *r)
{
    return r->op == EXITLOG_BLK_WRITE || r->op == EXITLOG_BLK_ZEROES ||
        r->op == EXITLOG_BLK_DISCARD;
}

static bool must_wait(const Request *r)
{
    Request *o;

    if (changes_data(r) && exitlog_checkpoint_disk_reads(disk_channel(r->blk),
                                                         r->offset, r->bytes)) {
        return true;
    }
    QTAILQ_FOREACH(o, &requests, next) {
        if (o == r) {
            return false;
        }
        if (!o->done && o->blk == r->blk && o->op != EXITLOG_BLK_FLUSH &&
            (changes_data(o) || changes_data(r)) &&
            o->offset < r->offset + r->bytes &&
            r->offset < o->offset + o->bytes) {
            return true;
        }
    }
    return false;
}

static void submit(Request *r)
{
    r->submitted = true;
    if (changes_data(r)) {
        exitlog_checkpoint_disk_write(disk_channel(r->blk), r->offset,
                                      r->bytes);
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
        blk_aio_pwrite_zeroes(r->blk, r->offset, r->bytes, r->flags,
                              request_done, r);
        break;
    case EXITLOG_BLK_DISCARD:
        blk_aio_pdiscard(r->blk, r->offset, r->bytes, request_done, r);
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
    r->op = op;
    r->id = next_id++;
    r->offset = offset;
    r->bytes = qiov ? qiov->size : bytes;
    r->flags = flags & ~BDRV_REQ_REGISTERED_BUF;
    r->guest = qiov;
    r->buf = NULL;
    r->ret = -EINPROGRESS;
    r->submitted = r->done = false;
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
        if (!r->submitted && !must_wait(r)) {
            submit(r);
        }
    }
}

/* The host finished it; the guest does not know yet.  Main loop, BQL. */
static void request_done(void *opaque, int ret)
{
    Request *r = opaque;

    r->ret = ret;
    r->done = true;
    done_count++;
    exitlog_blk_resubmit();
    aio_wait_kick();
    exitlog_kick();
}

/* Tell the guest: copy what was read, run the device's completion. */
static void complete(Request *r, int ret)
{
    QTAILQ_REMOVE(&requests, r, next);
    done_count--;
    if (r->op == EXITLOG_BLK_READ && ret >= 0) {
        qemu_iovec_from_buf(r->guest, 0, r->buf, r->bytes);
    }
    r->common.cb(r->common.opaque, ret);
    qemu_vfree(r->buf);
    qemu_aio_unref(r);
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
            exitlog_emit(EXITLOG_BLK_DONE, disk_channel(r->blk),
                         (uint32_t)(int32_t)r->ret, r->id, NULL);
            complete(r, r->ret);
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
        if (r->submitted && !r->done && changes_data(r)) {
            exitlog_checkpoint_disk_write(disk_channel(r->blk), r->offset,
                                          r->bytes);
        }
    }
}

/* A guest may issue more for ever, so one at a time.  False: none is left. */
bool exitlog_blk_finish_one(void)
{
    if (exitlog_blk_quiet()) {
        return false;
    }
    while (!done_count) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    return exitlog_blk_inject();
}

uint64_t exitlog_blk_next_id(void)
{
    return next_id;
}

void exitlog_blk_set_next_id(uint64_t id)
{
    next_id = id;
}

/* Replay: the same completion; our own copy of the disk must be done first. */
void exitlog_blk_apply(const struct exitlog_record *rec)
{
    int32_t ret = (int32_t)rec->len;
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if (r->id == rec->arg) {
            break;
        }
    }
    if (!r || disk_channel(r->blk) != rec->channel) {
        exitlog_diverge(rec, "the log completes disk request %" PRIu64 ", which "
                        "the guest has not issued", rec->arg);
    }
    while (!r->done) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    if (r->ret < 0 && ret >= 0) {
        exitlog_fail("disk%d of this replica failed (%s) where the primary's "
                     "did not, request %" PRIu64 " at byte %" PRId64,
                     rec->channel, strerror(-r->ret), r->id, r->offset);
    }
    complete(r, ret);
}

/*
 * The guest takes a request back.  It may have reached the disk: on both sides
 * it does, and the guest is told that it was cancelled.
 */
static void request_cancel(BlockAIOCB *acb)
{
    Request *r = container_of(acb, Request, common);

    AIO_WAIT_WHILE(NULL, !r->done);
    complete(r, -ECANCELED);
}

static Request *oldest(BlockBackend *blk)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if (r->blk == blk) {
            return r;
        }
    }
    return NULL;
}

/* Before QEMU waits: completions can issue more, and schedule bottom halves. */
void exitlog_blk_drain(BlockBackend *blk)
{
    Request *r;

    if (!exitlog_on() || xl.ended || disk_channel(blk) < 0) {
        return;
    }
    do {
        while ((r = oldest(blk))) {
            AIO_WAIT_WHILE(NULL, !r->done);
            complete(r, r->ret);
        }
    } while (exitlog_bh_run());
}
