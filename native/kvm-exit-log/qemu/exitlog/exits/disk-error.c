/*
 * Exit log: what came of disk requests, and those that fail.
 *
 * A write that failed may have been done in part: what the disk has there now
 * cannot be known by issuing the same request to another one.  So the live side
 * looks, and the log has the bytes (BLK_DATA) before the request's outcome; a
 * replica writes them to its own disk, where it has others.
 *
 * What cannot be read back now, or may change by itself (after a flush that failed the
 * host may drop what it has not written), is in doubt: whatever the guest reads
 * there later is in the log, too.
 *
 * While there is a backup the guest does not hear of it (disk-failing=leave): the backup's
 * disk may do what this one cannot, and has the same request in flight.  It is kept,
 * and the daemon, which reads the line that is said here, leaves the VM to the backup.
 * It is not tried again: a flush that failed can seem to be well the next time, when the
 * host has dropped what it could not write.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "exitlog/core/divergence.h"
#include "exitlog/core/kick.h"
#include "exitlog/core/ring.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/disk-error.h"

#define DISKS_MAX 16
#define CHUNK_BYTES (64 * KiB)
/* More are one, of the whole disk. */
#define DOUBTS_MAX 64
/* Errors that the guest hears of are said, but not each. */
#define SAID_NS_MIN NANOSECONDS_PER_SECOND
/* Whether there is a backup still. */
#define LOOK_MS 100

typedef struct Doubt {
    int64_t offset;
    int64_t end;
} Doubt;

typedef struct Payload {
    struct exitlog_blk_data head;
    uint8_t bytes[CHUNK_BYTES];
} Payload;

static struct {
    Doubt of[DOUBTS_MAX];
    unsigned count;
} doubts[DISKS_MAX];

static void doubt(int disk, int64_t offset, int64_t end)
{
    if (doubts[disk].count == DOUBTS_MAX) {
        doubts[disk].count = 0;
        offset = 0;
        end = INT64_MAX;
    }
    doubts[disk].of[doubts[disk].count++] = (Doubt) { offset, end };
}

static bool is_doubted(int disk, int64_t offset, int64_t end)
{
    for (unsigned i = 0; i < doubts[disk].count; i++) {
        if (offset < doubts[disk].of[i].end && doubts[disk].of[i].offset < end) {
            return true;
        }
    }
    return false;
}

static void log_bytes(int disk, uint64_t request, int64_t offset, Payload *p,
                      int64_t bytes)
{
    bool zero = buffer_is_zero(p->bytes, bytes);

    p->head = (struct exitlog_blk_data) {
        .request = request,
        .offset = offset,
        .bytes = bytes,
    };
    exitlog_emit(EXITLOG_BLK_DATA, disk,
                 sizeof(p->head) + (zero ? 0 : bytes), 0, p);
}

static void log_what_is_there(BlockBackend *blk, int disk, uint64_t request,
                              int64_t from, int64_t end)
{
    g_autofree Payload *p = g_new(Payload, 1);

    end = MIN(end, blk_getlength(blk));
    for (int64_t at = from; at < end; at += CHUNK_BYTES) {
        int64_t bytes = MIN(CHUNK_BYTES, end - at);

        if (blk_pread(blk, at, bytes, p->bytes, 0) >= 0) {
            log_bytes(disk, request, at, p, bytes);
        } else if (request != EXITLOG_BLK_NO_REQUEST) {
            doubt(disk, at, at + bytes);
        }
        exitlog_is_alive();
    }
}

static void log_what_was_read(const Request *r)
{
    g_autofree Payload *p = g_new(Payload, 1);

    for (int64_t done = 0; done < r->bytes; done += CHUNK_BYTES) {
        int64_t bytes = MIN(CHUNK_BYTES, r->bytes - done);

        memcpy(p->bytes, (uint8_t *)r->buf + done, bytes);
        log_bytes(r->disk, r->id, r->offset + done, p, bytes);
    }
}

static void say(const Request *r)
{
    static int64_t said_ns;
    int64_t now = get_clock();

    if (said_ns && now - said_ns < SAID_NS_MIN) {
        return;
    }
    said_ns = now;
    warn_report("exitlog: disk%d error: %s, %s of %" PRId64 " bytes at byte %"
                PRId64, r->disk, strerror(-r->ret), request_name(r), r->bytes,
                r->offset);
}

void exitlog_disk_outcome(const Request *r)
{
    assert(r->disk < DISKS_MAX);
    if (r->refused) {
        return;
    }
    if (r->ret >= 0) {
        if (r->op == EXITLOG_BLK_READ && doubts[r->disk].count &&
            is_doubted(r->disk, r->offset, r->offset + r->bytes)) {
            log_what_was_read(r);
        }
        return;
    }
    say(r);
    if (request_changes_data(r)) {
        log_what_is_there(r->blk, r->disk, r->id, r->offset,
                          r->offset + r->bytes);
    } else if (r->op == EXITLOG_BLK_FLUSH) {
        doubt(r->disk, 0, INT64_MAX);
    }
}

void exitlog_blk_log_outcome(const Request *r)
{
    exitlog_disk_outcome(r);
    exitlog_emit(EXITLOG_BLK_DONE, r->disk, (uint32_t)(int32_t)r->ret, r->id,
                 NULL);
}

static BlockBackend *blk_of(int disk)
{
    g_autofree char *name = g_strdup_printf("disk%d", disk);

    return blk_by_name(name);
}

void exitlog_disk_settle_doubts(void)
{
    for (int disk = 0; disk < DISKS_MAX; disk++) {
        for (unsigned i = 0; i < doubts[disk].count; i++) {
            const Doubt *d = &doubts[disk].of[i];

            if (d->end != INT64_MAX) {
                log_what_is_there(blk_of(disk), disk, EXITLOG_BLK_NO_REQUEST,
                                  d->offset, d->end);
            }
        }
    }
}

void exitlog_disk_replayed(const Request *r, int logged)
{
    if (r->ret < 0 && logged >= 0) {
        exitlog_fail("disk%d%s: %s, %s of %" PRId64 " bytes at byte %" PRId64
                     " of this replica's image, where the primary's did not "
                     "fail", r->disk, r->ret == -ENOSPC || r->ret == -EDQUOT ?
                     " full" : " error", strerror(-r->ret), request_name(r),
                     r->bytes, r->offset);
    }
}

/* Replay: our disk gets the bytes, unless it has them. */
static void put(BlockBackend *blk, int disk, const Payload *p)
{
    int64_t offset = p->head.offset, bytes = p->head.bytes;
    g_autofree uint8_t *own = g_malloc(bytes);
    int ret;

    if (blk_pread(blk, offset, bytes, own, 0) >= 0 &&
        !memcmp(own, p->bytes, bytes)) {
        return;
    }
    while (exitlog_blk_must_wait(disk, offset, bytes)) {
        exitlog_vcpu_wait(SCALE_MS);
    }
    exitlog_blk_writes(disk, offset, bytes);
    ret = blk_pwrite(blk, offset, bytes, p->bytes, 0);
    if (ret < 0) {
        exitlog_fail("disk%d%s: %s, %" PRId64 " bytes at byte %" PRId64
                     " of this replica's image, which the primary's has",
                     disk, ret == -ENOSPC || ret == -EDQUOT ? " full" :
                     " error", strerror(-ret), bytes, offset);
    }
}

static bool is_whole(const struct exitlog_record *rec, const Payload *p)
{
    uint64_t bytes = rec->len - sizeof(p->head);

    return p->head.bytes <= CHUNK_BYTES && p->head.offset <= INT64_MAX &&
        (!bytes || bytes == p->head.bytes);
}

void exitlog_disk_data_apply(const struct exitlog_record *rec)
{
    g_autofree Payload *p = g_new0(Payload, 1);
    BlockBackend *blk = blk_of(rec->channel);
    Request *r = NULL;
    int64_t at;

    if (!blk || rec->len < sizeof(p->head) || rec->len > sizeof(*p)) {
        exitlog_diverge(rec, "the log has bytes of a disk that is not there");
    }
    exitlog_payload(rec, p);
    if (!is_whole(rec, p)) {
        exitlog_diverge(rec, "the log has too many or too few bytes of a disk");
    }
    if (p->head.request != EXITLOG_BLK_NO_REQUEST) {
        r = exitlog_blk_find(p->head.request, rec->channel);
        if (!r || !r->admitted || p->head.offset < (uint64_t)r->offset ||
            p->head.offset + p->head.bytes >
            (uint64_t)(r->offset + r->bytes)) {
            exitlog_diverge(rec, "the log has what disk request %" PRIu64
                            " did, which the guest has not issued",
                            p->head.request);
        }
        while (!r->done) {
            exitlog_vcpu_wait(SCALE_MS);
        }
        if (r->op == EXITLOG_BLK_READ) {
            at = p->head.offset - r->offset;
            memcpy((uint8_t *)r->buf + at, p->bytes, p->head.bytes);
            r->ret = MAX(r->ret, 0);
        }
    }
    put(blk, rec->channel, p);
}

static bool leave;
static bool told; /* that something is kept */
static QEMUTimer *timer;

void exitlog_disk_failing_configure(const char *policy)
{
    if (policy && strcmp(policy, "leave")) {
        exitlog_fail("disk-failing must be leave");
    }
    leave = policy != NULL;
}

static bool has_backup(void)
{
    return !exitlog_control(EXITLOG_CTL_DETACHED);
}

/* It went on alone meanwhile. */
static void tell_the_guest(void)
{
    told = false;
    for (Request *r = exitlog_blk_oldest(NULL); r; r = exitlog_blk_after(r)) {
        if (r->held && r->failed) {
            exitlog_blk_set_done(r);
        }
    }
}

static void look(void *opaque)
{
    if (xl.ended) {
        return;
    }
    if (has_backup()) {
        timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + LOOK_MS);
    } else {
        tell_the_guest();
    }
}

bool exitlog_disk_failing_hold(Request *r)
{
    if (!leave || !xl.live || r->ret != -EIO || !has_backup()) {
        return false;
    }
    r->failed = true;
    if (!told) {
        told = true;
        warn_report("exitlog: disk%d failing: %s, %s of %" PRId64 " bytes at byte %"
                    PRId64, r->disk, strerror(-r->ret), request_name(r), r->bytes,
                    r->offset);
    }
    if (!timer) {
        timer = timer_new_ms(QEMU_CLOCK_REALTIME, look, NULL);
    }
    if (!timer_pending(timer)) {
        timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + LOOK_MS);
    }
    return true;
}
