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
 * the epoch: nobody has promised the guest what its disk has there.  It goes to the disk at once,
 * also where it ends an epoch for which the guest waits: no visit tells the guest of anything
 * before that is committed.
 *
 * A guest may have hundreds of requests in flight, each of any size, over the same few pages.
 * Bounce buffers take BOUNCE_BYTES_MAX in all; who finds no room is admitted in turn, when an
 * earlier one is completed to the guest.  Both are at positions that a replay has, too.
 *
 * BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/iov.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "block/aio-wait.h"
#include "hw/qdev-core.h"
#include "exitlog/core/events.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/state.h"
#include "exitlog/core/state-ring.h"
#include "exitlog/exits/block-request.h"
#include "exitlog/exits/flush-owed.h"
#include "exitlog/exits/io-log.h"

/* Twice what IDE's longest takes; Linux and Windows ask for 1 to 2 MiB at once. */
#define BOUNCE_BYTES_MAX (64 * MiB)

/* Issued and not completed to the guest, in issue order. */
static QTAILQ_HEAD(, Request) requests = QTAILQ_HEAD_INITIALIZER(requests);
static uint64_t next_id;
static unsigned done_count;
static unsigned held_count;
static unsigned outside_count; /* not admitted */
static int64_t bounce_bytes;   /* of those that are admitted */
static const ExitlogBlkWatch *watch; /* NULL: nobody does */
static void (*on_submit)(void);      /* or NULL */

/* The number in "diskN" (the -drive id that the daemon gives). */
int exitlog_blk_channel(BlockBackend *blk)
{
    const char *digits;

    return strstart(blk_name(blk), "disk", &digits) ? atoi(digits) : -1;
}

void exitlog_blk_on_submit(void (*who)(void))
{
    on_submit = who;
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
    return !r->admitted || exitlog_blk_is_behind(r) ||
        (request_changes_data(r) &&
         exitlog_blk_must_wait(r->disk, r->offset, r->bytes));
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
    r->submitted_ns = get_clock();
    if (on_submit) {
        on_submit();
    }
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

/* Its requests in flight are in the state of its device, and are issued when that is loaded. */
static bool is_kept(BlockBackend *blk)
{
    static const char *const types[] = { "virtio-blk-device", "scsi-device" };
    DeviceState *device;

    if (!xl.shm->state_bytes) {
        return false;
    }
    device = blk_get_attached_dev(blk);
    for (size_t i = 0; device && i < ARRAY_SIZE(types); i++) {
        if (object_dynamic_cast(OBJECT(device), types[i])) {
            return true;
        }
    }
    return false;
}

static int64_t bounce_bytes_of(const Request *r)
{
    return r->guest ? r->bytes : 0;
}

static void take_buffer(Request *r)
{
    bounce_bytes += r->bytes;
    r->buf = blk_blockalign(r->blk, MAX(r->bytes, 1));
    qemu_iovec_init_buf(&r->bounce, r->buf, r->bytes);
    if (r->op == EXITLOG_BLK_WRITE) {
        qemu_iovec_to_buf(r->guest, 0, r->buf, r->bytes);
    }
}

void exitlog_blk_admit(Request *r)
{
    if (r->admitted || r->refused) {
        return;
    }
    r->admitted = true;
    outside_count--;
    if (r->guest) {
        take_buffer(r);
    }
    put_state(r);
    if (request_changes_data(r)) {
        exitlog_event(EXITLOG_EVENT_DISK_WRITE);
    }
    if (!must_wait(r)) {
        submit(r);
    }
}

/* In turn, so that none waits for ever. */
static void admit_more(void)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        if (!outside_count) {
            return;
        }
        if (r->admitted || r->refused) {
            continue;
        }
        if (bounce_bytes + bounce_bytes_of(r) > BOUNCE_BYTES_MAX) {
            return;
        }
        exitlog_blk_admit(r);
    }
}

/* Nothing of it is done, here or anywhere. */
static void refuse(Request *r)
{
    r->refused = true;
    r->ret = -EINVAL;
    exitlog_blk_set_done(r);
}

void exitlog_blk_issue(Request *r)
{
    r->kept = is_kept(r->blk);
    r->id = next_id++;
    r->ret = -EINPROGRESS;
    r->refused = r->admitted = r->submitted = r->done = r->held = r->failed = false;
    QTAILQ_INSERT_TAIL(&requests, r, next);
    if (bounce_bytes_of(r) > BOUNCE_BYTES_MAX) {
        refuse(r);
        return;
    }
    outside_count++;
    admit_more();
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
    return held_count > 0;
}

void exitlog_blk_try_again(void)
{
    Request *r;

    QTAILQ_FOREACH(r, &requests, next) {
        set_held(r, r->failed && r->held);
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

static void give_buffer_back(Request *r)
{
    if (r->buf) {
        bounce_bytes -= r->bytes;
        qemu_vfree(r->buf);
    }
}

void exitlog_blk_complete(Request *r, int ret)
{
    QTAILQ_REMOVE(&requests, r, next);
    done_count -= r->done;
    outside_count -= !r->admitted && !r->refused;
    exitlog_blk_resubmit(); /* what was behind it */
    if (r->op == EXITLOG_BLK_READ && ret >= 0) {
        qemu_iovec_from_buf(r->guest, 0, r->buf, r->bytes);
    }
    give_buffer_back(r);
    admit_more();
    r->common.cb(r->common.opaque, ret);
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
