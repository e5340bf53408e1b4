/*
 * Exit log: a write for which the host has no room.
 *
 * The guest need not hear of it: the request is kept and tried again, and to the
 * guest its disk is slow (disk-full=wait).  The daemon reads the two lines that are
 * said here, and hands the VM over, or asks its operator for room.
 *
 * A replica never gets there: what its primary's log does not have it cannot wait
 * for, so a full disk of its own is its end at once (the pair goes on without it).
 * Where the primary reports such an error (disk-full=report) its own is only known
 * to be one when the log says that the primary's was none (disk-error.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "exitlog/core/state.h"
#include "exitlog/exits/disk-full.h"

#define RETRY_MS 500

static bool wait_for_room;
static bool told;
static bool over; /* the log ends */
static QEMUTimer *timer;

void exitlog_disk_full_configure(const char *policy)
{
    if (policy && strcmp(policy, "wait") && strcmp(policy, "report")) {
        exitlog_fail("disk-full must be wait or report");
    }
    wait_for_room = policy && !strcmp(policy, "wait");
}

/* None is held any more; the last of them was written. */
static void has_room(void)
{
    told = false;
    warn_report("exitlog: disk room: all that waited is written");
}

static void try_again(void *opaque)
{
    if (!over && !xl.ended) {
        exitlog_blk_try_again();
    }
}

bool exitlog_disk_full_hold(const Request *r)
{
    if (!wait_for_room || over) {
        return false;
    }
    if (!request_changes_data(r) || (r->ret != -ENOSPC && r->ret != -EDQUOT)) {
        if (told && request_changes_data(r) && r->ret >= 0 &&
            !exitlog_blk_holds()) {
            has_room();
        }
        return false;
    }
    if (!xl.live) {
        exitlog_fail("disk%d full: %s, %" PRId64 " bytes at byte %" PRId64
                     " of this replica's image", r->disk, strerror(-r->ret),
                     r->bytes, r->offset);
    }
    if (!told) {
        told = true;
        warn_report("exitlog: disk%d full: %s, %" PRId64 " bytes at byte %"
                    PRId64 " wait for room", r->disk, strerror(-r->ret),
                    r->bytes, r->offset);
    }
    if (!timer) {
        timer = timer_new_ms(QEMU_CLOCK_REALTIME, try_again, NULL);
    }
    if (!timer_pending(timer)) {
        timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + RETRY_MS);
    }
    return true;
}

void exitlog_disk_full_end(void)
{
    over = true;
}
