/*
 * Exit log: flushes that a replay owes to its disks.
 *
 * A replay answers a flush at once and owes it: a replica that dies is lost as a
 * replica, whatever its disk holds, while one that had to wait for its disk at
 * every flush would fall behind a primary that does the same.  It pays now and
 * then, so that little is owed when it goes live, and then it pays all.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"
#include "exitlog/exits/flush-owed.h"

#define DISKS_MAX 16
/* How much of a replica's disk may be dirty in the host's cache, in host time. */
#define OWED_MS_MAX 250

/* By channel; the disks whose replayed flushes have not been done.  BQL. */
static BlockBackend *owed[DISKS_MAX];
static QEMUTimer *timer;

/*
 * A flush that fails here is not forgotten: file-posix.c fails every later one
 * of the same image, so the guest hears of it when this replica is live.
 */
void exitlog_flush_paid(void *opaque, int ret)
{
    if (ret < 0) {
        warn_report("exitlog: flushing %s: %s", blk_name(opaque),
                    strerror(-ret));
    }
}

static void pay(void *opaque)
{
    for (int i = 0; i < DISKS_MAX; i++) {
        BlockBackend *blk = owed[i];

        owed[i] = NULL;
        if (blk) {
            blk_aio_flush(blk, exitlog_flush_paid, blk);
        }
    }
}

void exitlog_flush_owe(int disk, BlockBackend *blk)
{
    assert(disk < DISKS_MAX);
    owed[disk] = blk;
    if (!timer) {
        timer = timer_new_ms(QEMU_CLOCK_REALTIME, pay, NULL);
    }
    if (!timer_pending(timer)) {
        timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + OWED_MS_MAX);
    }
}

void exitlog_flush_pay(void)
{
    if (timer) {
        timer_del(timer);
    }
    pay(NULL);
}
