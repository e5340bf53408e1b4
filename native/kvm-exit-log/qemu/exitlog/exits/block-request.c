/*
 * Exit log: the guest's disk requests in flight.
 *
 * Requests overlap, and one of them writes: the later one goes to the disk when the
 * guest has been told of the earlier one.  Which came first would be the host's
 * choice, and what a failed write has left there is to be the same on both sides
 * (disk-error.c).
 *
 * A replay answers a flush at once and owes it (flush-owed.c).
 *
 * What is discarded reads as zeros, whatever the host can free: what it would
 * read otherwise is the host's choice.  What is zeroed is freed as well.
 *
 * What the guest writes is of the epoch that is cut next, whether it has reached the disk by
 * then or not.  A write that fails here, or is taken back before its turn came, may still be in
 * the epoch: nobody has promised the guest what its disk has there.
 *
 * BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "qemu/memalign.h"
#include "block/aio-wait.h"
#include "exitlog/core/events.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/exits/block-commit.h"
#include "exitlog/exits/block-request.h"
#include "exitlog/exits/flush-owed.h"
#include "exitlog/exits/io-log.h"

/* Issued and not completed to the guest, in issue order. */
static QTAILQ_HEAD(, Request) requests = QTAILQ_HEAD_INITIALIZER(requests);
static uint64_t next_id;
static unsigned done_count;
static unsigned held_count;
static const ExitlogBlkWatch *watch; /* NULL: nobody does */

/* The number in "diskN" (the -drive id that the daemon gives). */
int exitlog_blk_channel(BlockBackend *blk)
{
    const char *digits;

    return strstart(blk_name(blk), "disk", &digits) ? atoi(digits) : -1;
}

void exitlog_blk_watch(const ExitlogBlkWatch *who)
{
    watch = who;
}

void exitlog_blk_writes(int disk, int64_t offset, int64_t bytes)
{
    if (watch) {
        watch->writes(disk, offset, bytes);
    }
}

bool exitlog_blk_must_wait(int disk, int64_t offset, int64_t bytes)
{
    return watch && watch->must_wait(disk, offset, bytes);
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
         ((r->kept && !r->here && exitlog_blk_waits_for_commit(r->epoch)) ||
          exitlog_blk_must_wait(r->disk, r->offset, r->bytes)));
}

/* Answered, and owed. */
static void flush_later(Request *r)
{
    exitlog_flush_owe(r->disk, r->blk);
    r->ret = 0;
    r->done = true;
    done_count++;
}

static void submit(Request *r)
{
    r->submitted = true;
    if (request_changes_data(r)) {
        exitlog_blk_writes(r->disk, r->offset, r->bytes);
    }
    switch (r->op) {
    case EXITLOG_BLK_READ:
        blk_aio_preadv(r->blk, r->offset, &r->bounce, r->flags, r->host_done,
                       r);
        break;
    case EXITLOG_BLK_WRITE:
        blk_aio_pwritev(r->blk, r->offset, &r->bounce, r->flags, r->host_done,
                        r);
        break;
    case EXITLOG_BLK_ZEROES:
    case EXITLOG_BLK_DISCARD:
        blk_aio_pwrite_zeroes(r->blk, r->offset, r->bytes,
                              r->flags | BDRV_REQ_MAY_UNMAP, r->host_done, r);
        break;
    case EXITLOG_BLK_FLUSH:
        if (xl.live) {
            blk_aio_flush(r->blk, r->host_done, r);
        } else {
            flush_later(r);
        }
        break;
    }
}

static void put_state(const Request *r)
{
    bool writes = r->op == EXITLOG_BLK_WRITE;

    if (!exitlog_state_is_on() || !exitlog_state_has_begun() || !request_changes_data(r)) {
        return;
    }
    if (exitlog_io_log_is_on()) {
        exitlog_io_log_note(r->disk, r->offset, r->bytes, writes ? r->guest : NULL, r->buf);
    } else {
        exitlog_state_put(EXITLOG_PART_DISK + r->disk, r->offset, writes ? r->buf : NULL,
                          r->bytes);
    }
}

void exitlog_blk_issue(Request *r)
{
    put_state(r);
    r->epoch = exitlog_state_epoch();
    r->kept = exitlog_blk_is_kept(r->blk);
    r->id = next_id++;
    r->ret = -EINPROGRESS;
    r->submitted = r->done = r->held = r->here = false;
    if (request_changes_data(r)) {
        exitlog_event(EXITLOG_EVENT_DISK_WRITE);
    }
    QTAILQ_INSERT_TAIL(&requests, r, next);
    if (!must_wait(r)) {
        submit(r);
    }
}

void exitlog_blk_flush_now(void)
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

void exitlog_blk_set_held(Request *r)
{
    r->submitted = false;
    set_held(r, true);
}

bool exitlog_blk_holds(void)
{
    return held_count > 0 || exitlog_blk_commit_holds();
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

void exitlog_blk_mark_unfinished(void)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if ((r->submitted || r->held) && !r->done && request_changes_data(r)) {
            exitlog_blk_writes(r->disk, r->offset, r->bytes);
        }
    }
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

Request *exitlog_blk_oldest(BlockBackend *blk)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if (!blk || r->blk == blk) {
            return r;
        }
    }
    return NULL;
}

Request *exitlog_blk_oldest_done(void)
{
    Request *r;

    if (!done_count) {
        return NULL;
    }
    QTAILQ_FOREACH(r, &requests, next) {
        if (r->done) {
            return r;
        }
    }
    g_assert_not_reached();
}

Request *exitlog_blk_after(Request *r)
{
    return QTAILQ_NEXT(r, next);
}

uint64_t exitlog_blk_next_id(void)
{
    return next_id;
}

void exitlog_blk_set_next_id(uint64_t id)
{
    next_id = id;
}
