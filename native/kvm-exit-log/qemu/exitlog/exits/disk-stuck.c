/*
 * Exit log: a disk that does not answer.
 *
 * A request that takes too long is no error: the guest waits for it, and hears of
 * nothing.  The daemon reads the two lines that are said here: of a live VM it leaves it
 * to the backup, whose disk may answer; of a replica it tells the primary to go on without.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "exitlog/exits/block-request.h"
#include "exitlog/exits/disk-stuck.h"

#define LOOK_MS 250

static int64_t limit_ns;
static bool told;
static QEMUTimer *timer;

static void say(const Request *r, bool stuck)
{
    if (stuck == told) {
        return;
    }
    told = stuck;
    if (stuck) {
        warn_report("exitlog: disk%d stuck: %s, %" PRId64 " bytes at byte %" PRId64
                    ", has made no progress for %" PRId64 " ms", r->disk, request_name(r),
                    r->bytes, r->offset, limit_ns / SCALE_MS);
    } else {
        warn_report("exitlog: disk answers: all that was late is done");
    }
}

/* As long as something is in flight; main loop, BQL. */
static void look(void *opaque)
{
    int64_t now = get_clock();
    const Request *oldest = NULL;

    for (Request *r = exitlog_blk_oldest(NULL); r; r = exitlog_blk_after(r)) {
        if (r->submitted && !r->done && (!oldest || r->submitted_ns < oldest->submitted_ns)) {
            oldest = r;
        }
    }
    say(oldest, oldest && now - oldest->submitted_ns > limit_ns);
    if (oldest) {
        timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + LOOK_MS);
    }
}

/* A request goes to the disk. */
static void watch(void)
{
    if (!timer) {
        timer = timer_new_ms(QEMU_CLOCK_REALTIME, look, NULL);
    }
    if (!timer_pending(timer)) {
        timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + LOOK_MS);
    }
}

void exitlog_disk_stuck_configure(int64_t ms)
{
    limit_ns = ms * SCALE_MS;
    if (ms) {
        exitlog_blk_on_submit(watch);
    }
}
